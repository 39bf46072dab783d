//! Records as lines of a file that any log shipper can follow. `Ok` means on the disk: a line that was
//! only in a buffer at a power cut would be an answer nobody ever sees.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::{Report, Sink, SinkError};

pub struct JsonlSink {
    name: String,
    file: Arc<Mutex<Target>>,
}

struct Target {
    path: PathBuf,
    /// Kept open between deliveries; opened anew after an error or when the path leads elsewhere.
    open: Option<File>,
}

impl JsonlSink {
    /// The file (mode 0600) and its folder are made when first needed.
    pub fn new(name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            file: Arc::new(Mutex::new(Target {
                path: path.into(),
                open: None,
            })),
        }
    }
}

#[async_trait]
impl Sink for JsonlSink {
    fn name(&self) -> &str {
        &self.name
    }

    async fn deliver(&self, reports: &[Report]) -> Result<(), SinkError> {
        let mut lines = Vec::new();
        for report in reports {
            lines.extend_from_slice(report.json().as_bytes());
            lines.push(b'\n');
        }
        let file = Arc::clone(&self.file);
        // Disks can take seconds; the actors of this thread cannot.
        tokio::task::spawn_blocking(move || {
            let mut target = file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            target.append(&lines).map_err(|error| {
                target.open = None;
                SinkError::Unavailable(format!("{}: {error}", target.path.display()))
            })
        })
        .await
        .map_err(|error| SinkError::Unavailable(error.to_string()))?
    }
}

impl Target {
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let still_there = match (&self.open, fs::metadata(&self.path)) {
            (Some(file), Ok(there)) => {
                let here = file.metadata()?;
                (here.dev(), here.ino()) == (there.dev(), there.ino())
            }
            _ => false,
        };
        if !still_there {
            self.open = None;
        }
        let file = match &mut self.open {
            Some(file) => file,
            none => none.insert(open(&self.path)?),
        };
        let before = file.metadata()?.len();
        if let Err(error) = file.write_all(lines) {
            // A full disk: take the half line away again. If that fails too, the next open ends it.
            let _ = file.set_len(before);
            return Err(error);
        }
        file.sync_data()
    }
}

fn open(path: &Path) -> io::Result<File> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder {
        fs::create_dir_all(folder)?;
    }
    let is_new = !path.exists();
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    if is_new {
        // The name is durable only with its folder.
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    if file.metadata()?.len() > 0 {
        let mut last = [0u8; 1];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != [b'\n'] {
            // Half a line from a crash: the record comes again, and must not be glued to it.
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}
