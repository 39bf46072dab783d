//! The file follower over everything that happens to a log file: no line lost, none read twice.
#![allow(clippy::unwrap_used)] // in a test a panic is the report

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use securitybot::core::ids::SourceId;
use securitybot::plugins::formats::mapping::Mapping;
use securitybot::plugins::sources::jsonl::JsonlFollower;
use securitybot::plugins::sources::{Polled, PolledSource, SourceError};
use tempfile::TempDir;

/// A log in a folder of its own, and a follower whose cursor is committed by `read`.
struct Scene {
    folder: TempDir,
    follower: JsonlFollower,
    cursor: Option<String>,
    quarantined: Vec<String>,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let follower = follower(folder.path().join("app.log"));
        Self {
            folder,
            follower,
            cursor: None,
            quarantined: Vec::new(),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn append(&self, name: &str, text: &str) {
        let path = self.file(name);
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// Rotations are hours apart; here they get times that are.
    fn rename(&self, from: &str, to: &str, hour: u64) {
        fs::rename(self.file(from), self.file(to)).unwrap();
        let file = File::options().append(true).open(self.file(to)).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(hour * 3600))
            .unwrap();
    }

    async fn poll(&mut self) -> Polled {
        self.follower.poll(self.cursor.as_deref()).await.unwrap()
    }

    /// Polls and commits until there is no more: the titles read.
    async fn read(&mut self) -> Vec<String> {
        let mut titles = Vec::new();
        loop {
            let polled = self.poll().await;
            self.cursor = Some(polled.cursor);
            titles.extend(
                polled
                    .alerts
                    .iter()
                    .map(|one| one.alert.title.raw().to_owned()),
            );
            self.quarantined
                .extend(polled.quarantined.into_iter().map(|(_, error)| error));
            if !polled.more {
                return titles;
            }
        }
    }

    /// A restart: only the committed cursor survives.
    fn restart(&mut self) {
        self.follower = follower(self.file("app.log"));
    }
}

fn follower(path: PathBuf) -> JsonlFollower {
    let map = [("principal", "u"), ("rule", "'log'"), ("title", "t")];
    let map = map.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let mapping = Mapping::compile(&map).unwrap();
    JsonlFollower::new(SourceId::new("log"), path, Duration::from_secs(1), mapping)
}

fn line(title: &str) -> String {
    format!("{{\"t\": \"{title}\", \"u\": \"alice\"}}\n")
}

fn ids(polled: &Polled) -> Vec<String> {
    polled
        .alerts
        .iter()
        .map(|one| one.alert.id.to_string())
        .collect()
}

#[tokio::test]
async fn a_half_written_line_waits_for_its_end() {
    let mut scene = Scene::new();
    scene.append("app.log", &line("one"));
    scene.append("app.log", "{\"t\": \"tw");
    assert_eq!(scene.read().await, ["one"]);
    assert!(scene.read().await.is_empty());
    scene.append("app.log", "o\", \"u\": \"alice\"}\n");
    scene.restart();
    assert_eq!(scene.read().await, ["two"]);
    assert!(scene.read().await.is_empty());
}

#[tokio::test]
async fn a_poll_repeated_from_the_same_cursor_gives_the_same_ids() {
    let mut scene = Scene::new();
    scene.append("app.log", &line("one"));
    let first = scene.poll().await;
    scene.append("app.log", &line("two"));
    scene.restart();
    let again = scene.poll().await;
    assert_eq!(again.alerts.len(), 2);
    assert_eq!(ids(&first)[0], ids(&again)[0]);
    assert_ne!(ids(&again)[0], ids(&again)[1]);
    // Likewise when the cursor's file was cut: the new generation is a function of the old cursor.
    scene.cursor = Some(again.cursor);
    fs::write(scene.file("app.log"), line("new")).unwrap();
    let cut = scene.poll().await;
    scene.restart();
    assert_eq!(ids(&cut), ids(&scene.poll().await));
    assert_ne!(ids(&cut)[0], ids(&first)[0]);
}

#[tokio::test]
async fn the_rest_of_a_renamed_file_is_read_before_the_new_one() {
    let mut scene = Scene::new();
    scene.append("app.log", &line("one"));
    assert_eq!(scene.read().await, ["one"]);
    scene.append("app.log", &line("two"));
    scene.rename("app.log", "app.log.1", 1);
    assert_eq!(scene.read().await, ["two"]);
    // The new file is made at once, the writer is told later and writes on where it was.
    File::create(scene.file("app.log")).unwrap();
    scene.append("app.log.1", &line("three"));
    assert_eq!(scene.read().await, ["three"]);
    scene.append("app.log.1", "{\"t\": \"four\", \"u\": \"alice\"}");
    scene.append("app.log", &line("five"));
    scene.restart();
    assert_eq!(scene.read().await, ["four", "five"]);
    assert!(scene.read().await.is_empty());
}

#[tokio::test]
async fn two_rotations_while_the_bot_was_down_lose_nothing() {
    let mut scene = Scene::new();
    scene.append("app.log", &line("one"));
    assert_eq!(scene.read().await, ["one"]);
    scene.append("app.log", &line("two"));
    scene.rename("app.log", "app.log.2", 1);
    scene.append("app.log", &line("three"));
    scene.rename("app.log", "app.log.1", 2);
    scene.append("app.log", &line("four"));
    scene.append("app-audit.log", &line("another log altogether"));
    scene.restart();
    assert_eq!(scene.read().await, ["two", "three", "four"]);
    assert!(scene.read().await.is_empty());
}

#[tokio::test]
async fn a_file_copied_and_cut_is_read_to_its_end_in_the_copy() {
    let mut scene = Scene::new();
    scene.append("app.log", &line("one"));
    assert_eq!(scene.read().await, ["one"]);
    scene.append("app.log", &line("two"));
    fs::copy(scene.file("app.log"), scene.file("app.log.1")).unwrap();
    File::options()
        .write(true)
        .truncate(true)
        .open(scene.file("app.log"))
        .unwrap();
    assert_eq!(scene.read().await, ["two"]);
    scene.append("app.log", &line("three"));
    assert_eq!(scene.read().await, ["three"]);
    assert!(scene.read().await.is_empty());
}

#[tokio::test]
async fn a_file_overwritten_in_place_is_read_from_its_beginning() {
    let mut scene = Scene::new();
    scene.append("app.log", &line("one"));
    assert_eq!(scene.read().await, ["one"]);
    // As long as before, with other first bytes.
    fs::write(scene.file("app.log"), line("two")).unwrap();
    assert_eq!(scene.read().await, ["two"]);
    // Shorter than before, with the same beginning.
    let long: String = (0..40).map(|n| line(&n.to_string())).collect();
    scene.append("app.log", &long);
    assert_eq!(scene.read().await.len(), 40);
    let file = File::options()
        .write(true)
        .open(scene.file("app.log"))
        .unwrap();
    file.set_len(line("two").len() as u64 + 300).unwrap();
    assert_eq!(scene.read().await.first().map(String::as_str), Some("two"));
    // Shorter than what was known of its beginning.
    fs::write(scene.file("app.log"), line("3")).unwrap();
    assert_eq!(scene.read().await, ["3"]);
}

#[tokio::test]
async fn lines_that_are_no_alerts_are_quarantined_and_hold_up_nobody() {
    let mut scene = Scene::new();
    scene.append("app.log", "nope\n\n  \n{\"t\": \"nobody\"}\n");
    let mut file = OpenOptions::new()
        .append(true)
        .open(scene.file("app.log"))
        .unwrap();
    file.write_all(b"{\"t\": \"\xff\"}\n").unwrap();
    scene.append("app.log", &line("good"));
    assert_eq!(scene.read().await, ["good"]);
    let expected = ["malformed JSON", "principal", "not UTF-8"];
    assert_eq!(scene.quarantined.len(), expected.len());
    for (error, expected) in scene.quarantined.iter().zip(expected) {
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_line_beyond_a_mebibyte_is_quarantined_once_even_while_it_still_grows() {
    let mut scene = Scene::new();
    let long = "x".repeat(3 * 1024 * 1024);
    scene.append("app.log", &format!("{long}\n{}", line("one")));
    assert_eq!(scene.read().await, ["one"]);
    assert_eq!(scene.quarantined.len(), 1);
    scene.append("app.log", &long);
    assert!(scene.read().await.is_empty());
    scene.append("app.log", &long);
    scene.restart();
    assert!(scene.read().await.is_empty());
    scene.append("app.log", &format!("{long}\n{}", line("two")));
    assert_eq!(scene.read().await, ["two"]);
    assert_eq!(scene.quarantined.len(), 2);
}

#[tokio::test]
async fn a_long_file_comes_in_bounded_batches() {
    let mut scene = Scene::new();
    let text: String = (0..2_500).map(|n| line(&n.to_string())).collect();
    scene.append("app.log", &text);
    let first = scene.poll().await;
    assert_eq!((first.alerts.len(), first.more), (1_000, true));
    let wanted: Vec<String> = (0..2_500).map(|n| n.to_string()).collect();
    assert_eq!(scene.read().await, wanted);
}

#[tokio::test]
async fn a_missing_file_is_waited_for_and_a_folder_is_an_error() {
    let mut scene = Scene::new();
    assert!(scene.read().await.is_empty());
    scene.append("app.log", &line("one"));
    assert_eq!(scene.read().await, ["one"]);
    fs::remove_file(scene.file("app.log")).unwrap();
    assert!(scene.read().await.is_empty());
    fs::create_dir(scene.file("app.log")).unwrap();
    let error = scene
        .follower
        .poll(scene.cursor.as_deref())
        .await
        .unwrap_err();
    let SourceError::Unavailable(text) = error;
    assert!(
        text.contains("app.log") && text.contains("regular file"),
        "{text}"
    );
}
