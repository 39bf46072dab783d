//! A state of several cases lies in the store in pieces: a commit writes the case it changed, and a state whose
//! pieces are lost, damaged or somebody else's is an unreadable one.

mod conversation_support;

use conversation_support::Bot;
use securitybot::actors::checkpoint::{self, Outbox, Unreadable, Written};
use securitybot::core::conversation::open_case::Case;
use securitybot::core::conversation::{Answer, Conversation, Effect};
use securitybot::store::{Piece, PieceChanges};

const ALICE: &str = "employee/alice";

/// What a store has of one aggregate.
#[derive(Default)]
struct Kept {
    state: String,
    pieces: Vec<Piece>,
    written: Written<Case>,
}

impl Kept {
    /// Commits, and reads back what was committed.
    fn commit(&mut self, state: &Conversation) -> PieceChanges {
        let outbox = Outbox::<Effect>::new();
        let mut next = state.clone();
        let encoded = checkpoint::encode_after(ALICE, &self.written, &mut next, &outbox);
        assert_eq!(&next, state, "it is handed back as it was");
        let changes = encoded.pieces;
        self.state = encoded.state;
        self.pieces
            .retain(|piece| !changes.dropped.contains(&piece.number));
        self.pieces.extend(changes.written.iter().cloned());
        self.written = encoded.written;
        let (read, _, written) = self.read(ALICE).expect("readable");
        assert_eq!(&read, state);
        self.written = written;
        changes
    }

    fn read(&self, key: &str) -> Result<(Conversation, Outbox<Effect>, Written<Case>), Unreadable> {
        checkpoint::restore(key, &self.state, &self.pieces)
    }
}

fn numbers(pieces: &[Piece]) -> Vec<u64> {
    pieces.iter().map(|piece| piece.number).collect()
}

#[test]
fn a_commit_writes_the_cases_it_changed_and_drops_a_piece_one_commit_after_it_was_freed() {
    let mut bot = Bot::new();
    let mut kept = Kept::default();
    let first = bot.ask("sudo", "web-1");
    let changes = kept.commit(&bot.state);
    assert_eq!(
        changes,
        PieceChanges::default(),
        "one case is stored with the state"
    );

    bot.ask("sudo", "web-2");
    let changes = kept.commit(&bot.state);
    assert_eq!(numbers(&changes.written), [1, 2]);
    bot.ask("sudo", "web-3");
    let changes = kept.commit(&bot.state);
    assert_eq!(
        (numbers(&changes.written), changes.held),
        (vec![3], vec![1, 2, 3])
    );

    bot.press(first, Answer::No);
    let changes = kept.commit(&bot.state);
    assert!(changes.written[0].body.contains(&first.to_string()));
    assert_eq!(changes.freed[0], 1);
    assert!(
        changes.dropped.is_empty(),
        "half a commit must leave what was there"
    );
    let freed = changes.freed;
    let changes = kept.commit(&bot.state);
    assert_eq!((changes.written, changes.freed), (vec![], vec![]));
    assert_eq!(changes.dropped, freed);
    assert_eq!(numbers(&kept.pieces), changes.held);
}

#[test]
fn what_a_commit_writes_does_not_grow_with_the_open_cases() {
    let mut bot = Bot::new();
    let mut kept = Kept::default();
    let mut sizes = Vec::new();
    for nth in 0..40 {
        bot.ask("sudo", &format!("web-{nth:02}"));
        let changes = kept.commit(&bot.state);
        let pieces: usize = changes.written.iter().map(|piece| piece.body.len()).sum();
        sizes.push(kept.state.len() + pieces);
    }
    assert!(sizes[39] < sizes[4] * 3 / 2, "{sizes:?}");
}

#[test]
fn a_state_without_one_of_its_pieces_or_with_anothers_is_unreadable() {
    let mut bot = Bot::new();
    let mut kept = Kept::default();
    bot.ask("sudo", "web-1");
    bot.ask("sudo", "web-2");
    kept.commit(&bot.state);
    let why = |kept: &Kept, key: &str| match kept.read(key) {
        Err(Unreadable::Corrupt { why, .. }) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        why(&kept, "employee/bob"),
        "its piece 1 is 1 of employee/alice"
    );

    let whole = kept.pieces.clone();
    kept.pieces[0].body = whole[1].body.clone();
    assert_eq!(why(&kept, ALICE), "its piece 1 is 2 of employee/alice");
    kept.pieces[0].body = whole[0].body[..whole[0].body.len() / 2].to_owned();
    assert!(why(&kept, ALICE).starts_with("its piece 1: EOF"));
    kept.pieces.remove(0);
    assert_eq!(why(&kept, ALICE), "its piece 1 is missing");
    kept.pieces = whole;
    assert!(kept.read(ALICE).is_ok());
}

/// As an earlier securitybot stored it.
#[test]
fn a_state_that_was_stored_in_one_is_read_and_goes_on_in_pieces() {
    let mut bot = Bot::new();
    for host in ["web-1", "web-2", "web-3"] {
        bot.ask("sudo", host);
    }
    let mut kept = Kept {
        state: checkpoint::encode(&bot.state, &Outbox::<Effect>::new()),
        ..Kept::default()
    };
    let (read, _, written) = kept.read(ALICE).expect("readable");
    assert_eq!(read, bot.state);
    kept.written = written;
    let changes = kept.commit(&bot.state);
    assert_eq!(numbers(&changes.written), [1, 2, 3]);
}
