//! What an actor runs beside itself: it comes back, it ends with the actor, and its panic is not lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use actix::{Actor, ActorContext, Addr, Context, Handler};
use securitybot::actors::beside::{Beside, Done};
use securitybot::actors::mailbox::post;
use securitybot::actors::messages::Stop;

#[derive(Default)]
struct Worker {
    beside: Beside,
    ended: Arc<AtomicU32>,
}

impl Actor for Worker {
    type Context = Context<Self>;
}

impl Handler<Done<Self>> for Worker {
    type Result = ();

    fn handle(&mut self, done: Done<Self>, ctx: &mut Self::Context) {
        done.go_on(self, ctx);
    }
}

impl Handler<Stop> for Worker {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

/// An actor whose work counts itself after `wait`, and then does `last`.
fn working(wait: Duration, last: fn()) -> (Addr<Worker>, Arc<AtomicU32>) {
    let ended = Arc::new(AtomicU32::new(0));
    let worker = Worker {
        ended: ended.clone(),
        ..Worker::default()
    };
    let count = ended.clone();
    let addr = Worker::create(|ctx| {
        let mut worker = worker;
        let work = async move {
            tokio::time::sleep(wait).await;
            count.fetch_add(1, Ordering::SeqCst);
            last();
        };
        worker.beside.run(ctx, work, |(), actor: &mut Worker, _| {
            actor.ended.fetch_add(10, Ordering::SeqCst);
        });
        worker
    });
    (addr, ended)
}

async fn soon() {
    tokio::time::sleep(Duration::from_millis(60)).await;
}

#[actix_web::test]
async fn work_goes_on_in_its_actor_and_ends_with_it() {
    let (lives, ended) = working(Duration::from_millis(1), || {});
    let (stopped, never) = working(Duration::from_millis(20), || {});
    post(&stopped, Stop);
    soon().await;
    assert_eq!(ended.load(Ordering::SeqCst), 11);
    assert!(lives.connected());
    assert_eq!(never.load(Ordering::SeqCst), 0);
}

#[actix_web::test]
async fn a_panic_in_its_work_ends_the_actor_for_whoever_watches_it() {
    let (addr, ended) = working(Duration::from_millis(1), || panic!("by intent"));
    soon().await;
    assert_eq!(ended.load(Ordering::SeqCst), 1);
    assert!(!addr.connected());
}
