//! What becomes of runs that came due while no scheduler ran.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tidemill_delivery::{Delivery, Event, Handover, Policy, Taken, Target};
use tidemill_platform::{Arn, Cx, Fault, Platform, Trace};
use tidemill_scheduler::{Scheduler, api};
use tidemill_store::{Batch, Seq};
use tokio::sync::Notify;

/// A queue that remembers what it took.
#[derive(Default)]
struct Sink {
    taken: Mutex<Vec<String>>,
    arrived: Notify,
}

struct Queue(Arc<Sink>);

struct Arrived(Arc<Sink>, String);

impl Taken for Arrived {
    fn submitted(self: Box<Self>, _: Seq) {
        self.0.taken.lock().push(self.1);
        self.0.arrived.notify_one();
    }
}

impl Target for Queue {
    fn accept(&self, cx: &Cx, target: &Arn, event: Event) -> Result<Handover, Fault> {
        Ok(Handover::new("sink", target.to_string(), event, Policy::event_bridge(), cx.now()))
    }

    fn take(&self, _: &Cx, _: &Arn, event: &Event, _: &mut Batch) -> Result<Option<Box<dyn Taken>>, Fault> {
        let text = String::from_utf8_lossy(&event.payload).into_owned();
        Ok(Some(Box::new(Arrived(self.0.clone(), text))))
    }
}

impl Sink {
    /// What came in, once there are so many.
    async fn after(&self, number: usize) -> Vec<String> {
        loop {
            let taken = self.taken.lock().clone();
            if taken.len() >= number {
                return taken;
            }
            self.arrived.notified().await;
        }
    }
}

struct World {
    platform: Arc<Platform>,
    delivery: Delivery,
    sink: Arc<Sink>,
}

impl World {
    fn new() -> World {
        let platform = Platform::for_tests();
        let delivery = Delivery::open(&platform).expect("opens");
        let sink = Arc::new(Sink::default());
        delivery.target("sqs", Arc::new(Queue(sink.clone())));
        delivery.start().expect("starts");
        World { platform, delivery, sink }
    }

    fn opened(&self) -> Arc<Scheduler> {
        tidemill_scheduler::service(&self.platform, &self.delivery).expect("opens").1
    }

    /// A scheduler in place of this one, started when so much time has passed. Nobody else holds the first.
    fn restarted_after_s(&self, before: Arc<Scheduler>, seconds: u64) -> Arc<Scheduler> {
        let next = self.opened();
        drop(before);
        self.advance_s(seconds);
        next.start();
        next
    }

    fn advance_s(&self, seconds: u64) {
        self.platform.clock.advance(Duration::from_secs(seconds));
    }

    async fn create(
        &self,
        scheduler: &Scheduler,
        name: &str,
        expression: &str,
        retry: Option<api::RetryPolicy>,
    ) {
        let cx = self.platform.cx("000000000000", "us-east-1", Trace::default());
        let input = api::CreateScheduleInput {
            name: name.into(),
            schedule_expression: expression.into(),
            target: api::Target {
                arn: "arn:aws:sqs:us-east-1:000000000000:sink".into(),
                role_arn: "arn:aws:iam::000000000000:role/r".into(),
                input: Some(format!("{name} <aws.scheduler.scheduled-time>")),
                retry_policy: retry,
                ..api::Target::default()
            },
            flexible_time_window: api::FlexibleTimeWindow {
                mode: api::FlexibleTimeWindowMode::Off,
                maximum_window_in_minutes: None,
            },
            ..api::CreateScheduleInput::default()
        };
        scheduler.create(&cx, input).await.expect("created");
    }
}

// The clock of tests begins at 2023-11-14T22:13:20Z.

#[tokio::test]
async fn recurring_runs_are_left_out_and_go_on() {
    let world = World::new();
    let scheduler = world.opened();
    world.create(&scheduler, "hourly", "cron(0 * * * ? *)", None).await;
    let _scheduler = world.restarted_after_s(scheduler, 5 * 3600);
    world.advance_s(3600);
    assert_eq!(world.sink.after(1).await, ["hourly 2023-11-15T04:00:00Z"]);
}

#[tokio::test]
async fn a_run_missed_by_seconds_is_made() {
    let world = World::new();
    let scheduler = world.opened();
    world.create(&scheduler, "hourly", "cron(0 * * * ? *)", None).await;
    let _scheduler = world.restarted_after_s(scheduler, 46 * 60 + 50);
    assert_eq!(world.sink.after(1).await, ["hourly 2023-11-14T23:00:00Z"]);
}

#[tokio::test]
async fn a_one_time_run_is_made_up_for_as_long_as_its_event_may_age() {
    let world = World::new();
    let scheduler = world.opened();
    let short = api::RetryPolicy { maximum_event_age_in_seconds: Some(3600), maximum_retry_attempts: None };
    world.create(&scheduler, "forgotten", "at(2023-11-14T23:00:00)", Some(short)).await;
    world.create(&scheduler, "late", "at(2023-11-14T23:00:00)", None).await;
    let scheduler = world.restarted_after_s(scheduler, 5 * 3600);
    world.create(&scheduler, "next", "at(2023-11-15T04:00:00)", None).await;
    world.advance_s(3600);
    let taken = world.sink.after(2).await;
    assert_eq!(taken, ["late 2023-11-14T23:00:00Z", "next 2023-11-15T04:00:00Z"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_runs_of_one_moment_are_all_made_late() {
    let world = World::new();
    let scheduler = world.opened();
    for number in 0..200 {
        world.create(&scheduler, &format!("s{number}"), "at(2023-11-14T23:00:00)", None).await;
    }
    let _scheduler = world.restarted_after_s(scheduler, 3600);
    assert_eq!(world.sink.after(200).await.len(), 200);
}
