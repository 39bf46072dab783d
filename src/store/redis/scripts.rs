//! The scripts: each is one atomic call in one partition's slot.

use redis::Cmd;

macro_rules! script {
    ($name:ident, $file:literal) => {
        pub(super) static $name: std::sync::LazyLock<Script> = std::sync::LazyLock::new(|| {
            Script::new(concat!(
                include_str!("lua/common.lua"),
                include_str!("lua/index.lua"),
                include_str!(concat!("lua/", $file))
            ))
        });
    };
}

script!(COMMIT, "commit.lua");
script!(PUT, "put.lua");
script!(LEASE, "lease.lua");
script!(LOAD, "load.lua");
script!(DUE, "due.lua");
script!(QUEUE, "queue.lua");
script!(QUEUED, "queued.lua");
script!(JOURNAL, "journal.lua");
script!(TIMELINE, "timeline.lua");
script!(ROWS, "rows.lua");
script!(COUNT, "count.lua");
script!(TRIM, "trim.lua");
script!(FORGET, "forget.lua");

/// About; most are names and numbers.
const BYTES_PER_ARGUMENT: usize = 64;

pub(super) struct Script {
    text: &'static str,
    /// What the server knows it by.
    sha: String,
}

impl Script {
    fn new(text: &'static str) -> Self {
        Self {
            text,
            sha: redis::Script::new(text).get_hash().to_owned(),
        }
    }

    /// The call so far: its one key is the partition's lease, the first argument its prefix.
    pub fn call(&self, prefix: &str) -> Cmd {
        self.call_of(prefix, 0)
    }

    /// The same for arguments of about so many bytes.
    pub fn call_of(&self, prefix: &str, bytes: usize) -> Cmd {
        let mut cmd = Cmd::with_capacity(bytes / BYTES_PER_ARGUMENT, bytes);
        cmd.arg("EVALSHA")
            .arg(&self.sha)
            .arg(1)
            .arg(format!("{prefix}lease"))
            .arg(prefix);
        cmd
    }

    /// The same call with the script's text.
    pub fn with_text(&self, cmd: &Cmd) -> Cmd {
        let mut whole = redis::cmd("EVAL");
        whole.arg(self.text);
        for arg in cmd.args_iter().skip(2) {
            if let redis::Arg::Simple(bytes) = arg {
                whole.arg(bytes);
            }
        }
        whole
    }
}
