//! A Slack chat with a fake inbox behind it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use securitybot::clock::Clock;
use securitybot::core::alert::Severity;
use securitybot::core::conversation::effect::{Form, Question, TickOption};
use securitybot::core::conversation::{Content, Outgoing, Reply};
use securitybot::core::ids::{CaseId, ChatIdentity};
use securitybot::core::policy::Explanation;
use securitybot::core::time::Timestamp;
use securitybot::messages::{Messages, Rendered};
use securitybot::plugins::chat::slack::{Settings, Slack};
use securitybot::plugins::chat::{ChatAction, ChatEvent, Inbox, InboxError};
use securitybot::store::memory::MemoryStore;

use crate::common::fake_slack::{APP_TOKEN, BOT_TOKEN, FakeSlack, TEAM};

pub const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
pub const CASE: &str = "019abcde-0000-7000-8000-000000000001";

pub struct Bot {
    pub slack: Arc<Slack>,
    pub fake: FakeSlack,
    pub inbox: Arc<FakeInbox>,
}

impl Bot {
    pub fn new() -> Self {
        Self::with(true)
    }

    /// Without a socket, events come by HTTP.
    pub fn with(socket: bool) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let fake = FakeSlack::start();
        fake.add_user("UALICE", "Alice", "alice@example.com");
        fake.add_user("UBOB", "Bob", "bob@example.com");
        let clock = Clock::system();
        let settings = Settings {
            api_url: fake.api_url().parse().unwrap(),
            bot_token: BOT_TOKEN.into(),
            app_token: socket.then(|| APP_TOKEN.into()),
            signing_secret: (!socket).then(|| SECRET.into()),
        };
        let store = Arc::new(MemoryStore::new(8));
        Self {
            slack: Arc::new(Slack::new(settings, store, Arc::new(move || clock.now()))),
            fake,
            inbox: Arc::default(),
        }
    }

    pub fn start(&self) {
        self.slack.start(self.inbox.clone());
    }

    /// Starts, and waits until both connections are up: Slack gives a new one what nobody has acknowledged yet.
    pub async fn start_listening(&self) {
        self.start();
        let fake = self.fake.clone();
        tokio::task::spawn_blocking(move || fake.wait_connected(2))
            .await
            .unwrap();
    }
}

/// Takes what it is given, unless told to refuse.
#[derive(Default)]
pub struct FakeInbox {
    pub events: Mutex<Vec<ChatEvent>>,
    pub refuse: AtomicUsize,
    pub replies: Mutex<Vec<Reply>>,
}

#[async_trait]
impl Inbox for FakeInbox {
    async fn deliver(&self, event: ChatEvent) -> Result<Reply, InboxError> {
        self.events.lock().unwrap().push(event);
        let refuse = |left: usize| left.checked_sub(1);
        if self
            .refuse
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, refuse)
            .is_ok()
        {
            return Err(InboxError::TryAgain("the store is down".to_owned()));
        }
        Ok(self.replies.lock().unwrap().pop().unwrap_or(Reply::Taken))
    }
}

impl FakeInbox {
    pub fn ids(&self) -> Vec<String> {
        let events = self.events.lock().unwrap();
        events.iter().map(|event| event.event_id.clone()).collect()
    }

    pub fn typed(&self) -> Vec<String> {
        let events = self.events.lock().unwrap();
        let texts = events.iter().filter_map(|event| match &event.action {
            ChatAction::Typed { text } => Some(text.raw().to_owned()),
            _ => None,
        });
        texts.collect()
    }
}

pub fn identity(user: &str) -> ChatIdentity {
    ChatIdentity {
        chat: "slack".to_owned(),
        user: format!("{TEAM}/{user}"),
    }
}

pub fn question(title: &str, reason: &str) -> Question {
    let at = Timestamp::from_millis(1_795_514_520_000);
    let case = CaseId::parse(CASE).unwrap();
    Question {
        case,
        reference: case.reference(),
        revision: 1,
        rule: "sudo".to_owned(),
        severity: Severity::Medium,
        title: title.into(),
        description: "".into(),
        reason: reason.into(),
        url: Some("https://siem.example.com/alert/1".into()),
        context: vec![("host".to_owned(), "web-3".into())],
        count: 1,
        first_at: at,
        last_at: at,
        time_zone: "Europe/Berlin".to_owned(),
        deadline: Some(at.after(Duration::from_secs(7_200))),
    }
}

pub fn rendered(content: Content) -> Rendered {
    let outgoing = Outgoing {
        to: identity("UALICE"),
        employee: "alice".into(),
        case: CaseId::parse(CASE),
        urgency: Severity::Medium,
        content,
    };
    Messages::embedded().render(&outgoing)
}

pub fn asked() -> Rendered {
    rendered(Content::Question {
        question: Box::new(question("sudo -i on web-3", "COMMAND=/bin/bash")),
    })
}

pub fn proof_form(ticks: usize) -> Rendered {
    let question = question("sudo -i on web-3", "COMMAND=/bin/bash");
    let ticks = (0..ticks).map(|nth| TickOption {
        case: question.case,
        reference: question.reference.clone(),
        revision: u32::try_from(nth + 1).unwrap(),
        title: format!("{} <!channel> & more, number {nth}", "x".repeat(140))
            .as_str()
            .into(),
        ticked: nth == 0,
    });
    let form = Form {
        explanation: Explanation::Required,
        given: Some("\"quoted\" <b>".repeat(100).as_str().into()),
        ticks: ticks.collect(),
        code: true,
        push: false,
    };
    rendered(Content::ProofForm {
        question: Box::new(question.clone()),
        form,
    })
}
