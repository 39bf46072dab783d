//! The way to the server. The library neither reconnects after a timeout, a READONLY or a refused
//! password, nor says whether a command was sent: so every call has a deadline of its own, the
//! connection is made anew after anything doubtful, and an error says what is certain.

use std::time::Duration;

use futures_util::future::try_join_all;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::{AsyncConnectionConfig, Cmd, FromRedisValue, RedisError, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::address::Address;
use super::answer::{CallError, KEEP_CONNECTION, classify, is_refusal, read};
use super::restarted;
use super::scripts::Script;

#[derive(Clone)]
pub(super) enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    pub(super) async fn ask(&mut self, cmd: &Cmd) -> Result<Value, RedisError> {
        match self {
            Self::One(connection) => cmd.query_async(connection).await,
            Self::Cluster(connection) => cmd.query_async(connection).await,
        }
    }

    /// Every primary of a cluster.
    async fn ask_all(&mut self, cmd: &Cmd) -> Result<Value, RedisError> {
        match self {
            Self::One(connection) => {
                let answer = cmd.query_async(connection).await?;
                Ok(Value::Array(vec![answer]))
            }
            Self::Cluster(connection) => {
                let all = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                match connection.route_command(cmd.clone(), all).await? {
                    Value::Map(nodes) => {
                        let answers = nodes.into_iter().map(|(_, answer)| answer);
                        Ok(Value::Array(answers.collect()))
                    }
                    answer => Ok(Value::Array(vec![answer])),
                }
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum UseFor {
    /// Sent once: a second time could be a second write.
    Writes,
    /// Sent again at once when a connection turns out to be dead.
    Reads,
}

pub(super) struct Link {
    address: Address,
    use_for: UseFor,
    deadline: Duration,
    /// Where it is noted which run of the server was looked at.
    meta: String,
    /// Connections live where the store was opened, not in whatever worker happened to need one.
    home: tokio::runtime::Handle,
    live: Mutex<Live>,
}

#[derive(Default)]
struct Live {
    connection: Option<Connection>,
    /// Counts connections, so that a late failure of an old one does not end the new one.
    generation: u64,
    /// The server was looked at through this connection.
    looked: bool,
    /// Which run of which server what is in memory comes from.
    run: Option<String>,
    /// Another one answered since.
    is_another: bool,
}

impl Link {
    pub fn new(address: Address, use_for: UseFor, deadline: Duration, meta: String) -> Self {
        Self {
            address,
            use_for,
            deadline,
            meta,
            home: tokio::runtime::Handle::current(),
            live: Mutex::default(),
        }
    }

    /// One command with its deadline.
    pub async fn call<T: FromRedisValue>(&self, cmd: &Cmd) -> Result<T, CallError> {
        let until = self.until();
        match self.once(None, cmd, until).await {
            Err(CallError::Unknown(_)) if self.may_repeat(until) => {
                self.once(None, cmd, until).await
            }
            other => other,
        }
        .map(|(answer, ..)| answer)
    }

    /// One script; where the server has forgotten it, with its text.
    pub async fn run<T: FromRedisValue>(&self, script: &Script, cmd: &Cmd) -> Result<T, CallError> {
        let until = self.until();
        match self.once(Some(script), cmd, until).await {
            Err(CallError::Unknown(_)) if self.may_repeat(until) => {
                self.once(Some(script), cmd, until).await
            }
            other => other,
        }
        .map(|(answer, ..)| answer)
    }

    /// The same read in several partitions. One server is asked in one message: an answer of its own for each wakes
    /// whoever waits as often.
    pub async fn each<T: FromRedisValue>(
        &self,
        script: Option<&Script>,
        cmds: &[Cmd],
    ) -> Result<Vec<T>, CallError> {
        let until = self.until();
        let (connection, generation) = self.connection(until).await?;
        if let (Connection::One(mut server), [_, _, ..]) = (connection, cmds) {
            let mut all = redis::Pipeline::with_capacity(cmds.len());
            for cmd in cmds {
                all.add_command(cmd.clone());
            }
            let answers = server.req_packed_commands(&all, 0, cmds.len());
            match tokio::time::timeout_at(until, answers).await {
                Err(elapsed) => return self.judge(Err(elapsed), generation).await,
                Ok(Ok(answers)) if !answers.iter().any(is_refusal) => {
                    let answers = answers.into_iter().map(read);
                    return answers.collect();
                }
                // Whatever it is, each meets it again by itself.
                Ok(_) => {}
            }
        }
        try_join_all(cmds.iter().map(async |cmd| match script {
            Some(script) => self.run(script, cmd).await,
            None => self.call(cmd).await,
        }))
        .await
    }

    /// One script, then on the same connection WAIT: how many replicas have it.
    pub async fn run_and_wait<T: FromRedisValue>(
        &self,
        script: &Script,
        cmd: &Cmd,
        replicas: Option<u32>,
    ) -> Result<(T, Option<u32>), CallError> {
        let until = self.until();
        let (answer, mut connection, generation) = self.once(Some(script), cmd, until).await?;
        let Some(wanted) = replicas else {
            return Ok((answer, None));
        };
        let left = until.saturating_duration_since(Instant::now()) * 3 / 4;
        let mut wait = redis::cmd("WAIT");
        wait.arg(wanted)
            .arg(u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1));
        let got = self.on(&mut connection, generation, &wait, until).await;
        // It is written whatever WAIT says. Without an answer the server may be gone, and a replica that has it not
        // may go on in its place.
        let unknown =
            |error: CallError| CallError::Unknown(format!("no answer to WAIT: {error:?}"));
        let got = got.map_err(unknown)?;
        if got < wanted {
            // Sentinel may have put another in its place, and it has not been told yet: ask anew where to write.
            self.forget(generation).await;
        }
        Ok((answer, Some(got)))
    }

    /// The answers of every primary: one, unless it is a cluster. Only for what changes nothing.
    pub async fn call_all<T: FromRedisValue>(&self, cmd: &Cmd) -> Result<Vec<T>, CallError> {
        let until = self.until();
        let mut last = None;
        for _ in 0..2 {
            let (mut connection, generation, _) = self.any_connection(until).await?;
            let answer = tokio::time::timeout_at(until, connection.ask_all(cmd)).await;
            match self.judge(answer, generation).await {
                Err(error @ CallError::Unknown(_)) if Instant::now() < until => last = Some(error),
                other => return other,
            }
        }
        Err(last.unwrap_or_else(|| CallError::Unknown("no answer".to_owned())))
    }

    fn until(&self) -> Instant {
        Instant::now() + self.deadline
    }

    fn may_repeat(&self, until: Instant) -> bool {
        self.use_for == UseFor::Reads && Instant::now() < until
    }

    async fn once<T: FromRedisValue>(
        &self,
        script: Option<&Script>,
        cmd: &Cmd,
        until: Instant,
    ) -> Result<(T, Connection, u64), CallError> {
        let (mut connection, generation) = self.connection(until).await?;
        let answer = match (
            script,
            self.on(&mut connection, generation, cmd, until).await,
        ) {
            (Some(script), Err(CallError::Certain(why))) if why.contains("NOSCRIPT") => {
                let whole = script.with_text(cmd);
                self.on(&mut connection, generation, &whole, until).await
            }
            (_, other) => other,
        };
        Ok((answer?, connection, generation))
    }

    pub async fn close(&self) {
        self.live.lock().await.connection = None;
    }

    async fn on<T: FromRedisValue>(
        &self,
        connection: &mut Connection,
        generation: u64,
        cmd: &Cmd,
        until: Instant,
    ) -> Result<T, CallError> {
        let answer = tokio::time::timeout_at(until, connection.ask(cmd)).await;
        self.judge(answer, generation).await
    }

    async fn judge<T: FromRedisValue>(
        &self,
        answer: Result<Result<Value, RedisError>, tokio::time::error::Elapsed>,
        generation: u64,
    ) -> Result<T, CallError> {
        match answer {
            Ok(Ok(answer)) => read(answer),
            Ok(Err(error)) => {
                let code = error.code().unwrap_or_default().to_owned();
                if !KEEP_CONNECTION.contains(&code.as_str()) {
                    self.forget(generation).await;
                }
                Err(classify(&code, &error))
            }
            Err(_) => {
                self.forget(generation).await;
                Err(CallError::Unknown(format!(
                    "{} did not answer within {:?}",
                    self.address, self.deadline
                )))
            }
        }
    }

    /// Another server stands where the one stood that was read so far.
    pub fn is_another(&self) -> bool {
        // Held by a call that connects: the next look will tell.
        self.live.try_lock().is_ok_and(|live| live.is_another)
    }

    pub async fn begin_anew(&self) {
        self.live.lock().await.is_another = false;
    }

    /// To write through.
    async fn connection(&self, until: Instant) -> Result<(Connection, u64), CallError> {
        let (connection, generation, is_another) = self.any_connection(until).await?;
        if is_another {
            return Err(CallError::Certain(format!(
                "{} was started anew, or another one took its place: what was in memory is read again first",
                self.address
            )));
        }
        Ok((connection, generation))
    }

    /// Also to a server that took another's place.
    async fn any_connection(&self, until: Instant) -> Result<(Connection, u64, bool), CallError> {
        let connect = async {
            let mut live = self.live.lock().await;
            if live.looked
                && let Some(connection) = &live.connection
            {
                return Ok((connection.clone(), live.generation, live.is_another));
            }
            // Given up on the way, it is gone: a dead one must not be kept.
            let mut connection = match live.connection.take() {
                Some(connection) => connection,
                None => {
                    live.generation += 1;
                    self.connect().await?
                }
            };
            live.looked = self.look(&mut connection, &mut live).await?;
            live.connection = Some(connection.clone());
            Ok((connection, live.generation, live.is_another))
        };
        let failed =
            |why: String| CallError::Certain(format!("cannot connect to {}: {why}", self.address));
        match tokio::time::timeout_at(until, connect).await {
            Ok(result) => result.map_err(failed),
            Err(_) => Err(failed(format!("no connection within {:?}", self.deadline))),
        }
    }

    async fn connect(&self) -> Result<Connection, String> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.deadline))
            .set_response_timeout(None);
        let address = self.address.clone();
        self.home
            .spawn(async move { address.connect(&config).await })
            .await
            .map_err(|e| e.to_string())?
            .map_err(|e| e.to_string())
    }

    /// Whether that is done for this connection.
    async fn look(&self, connection: &mut Connection, live: &mut Live) -> Result<bool, String> {
        if self.use_for != UseFor::Writes {
            return Ok(true);
        }
        let look = restarted::look(connection, &self.meta)
            .await
            .map_err(|error| error.to_string())?;
        if look.run.is_some() && look.run != live.run {
            if live.run.is_some() {
                live.is_another = true;
                tracing::warn!(
                    "{} was started anew, or another one took its place; whatever is in memory begins anew",
                    self.address
                );
            }
            live.run = look.run;
        }
        Ok(look.is_done)
    }

    async fn forget(&self, generation: u64) {
        let mut live = self.live.lock().await;
        if live.generation == generation {
            live.connection = None;
        }
    }
}
