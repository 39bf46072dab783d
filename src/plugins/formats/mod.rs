//! Formats of alerts on the wire: bytes in, [`Incoming`](super::sources::Incoming) alerts or a clear
//! refusal out. Pure functions over untrusted bytes.
