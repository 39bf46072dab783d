//! The store for production: one batch is one call of one script (in preparation).
