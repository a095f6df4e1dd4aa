//! One queue's state machine: which messages wait, which are in flight, which come later. Pure: it is told the time and
//! knows messages by number; numbers grow with the time of sending, so their order is that of arrival.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
};

/// Most messages that may be in flight at once, as AWS has it.
pub const MOST_IN_FLIGHT: usize = 120_000;
pub const MOST_IN_FLIGHT_FIFO: usize = 120_000;

/// How often a message was received, and when first (milliseconds since 1970).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Receives {
    pub count: u32,
    pub first_at: i64,
}

#[derive(Debug)]
struct Flight {
    until: i64,
    receives: Receives,
    group: Option<Arc<str>>,
}

#[derive(Debug, Default)]
struct Group {
    waiting: VecDeque<u64>,
    in_flight: usize,
    /// Its name is in `turn`.
    queued: bool,
}

/// What is in a queue.
#[derive(Debug, Default)]
pub struct Queue {
    is_fifo: bool,
    /// Standard queues: what can be received, and what of it has been deleted meanwhile.
    ready: VecDeque<u64>,
    gone: HashSet<u64>,
    /// FIFO queues: groups, and those of them that have something to receive.
    groups: HashMap<Arc<str>, Group>,
    turn: VecDeque<Arc<str>>,
    waiting_in_groups: usize,
    in_flight: HashMap<u64, Flight>,
    /// Messages whose delay has not passed, with their group.
    delayed: HashMap<u64, Option<Arc<str>>>,
    /// (when, number) of everything in flight or delayed.
    later: BTreeSet<(i64, u64)>,
    /// Receives of messages that can be received again.
    received: HashMap<u64, Receives>,
}

impl Queue {
    pub fn new(is_fifo: bool) -> Queue {
        Queue { is_fifo, ..Queue::default() }
    }

    /// Puts a message in; it can be received from `visible_at` on.
    pub fn insert(&mut self, number: u64, group: Option<&str>, visible_at: i64, now: i64) {
        let group = group.filter(|_| self.is_fifo).map(Arc::from);
        if visible_at > now {
            self.delayed.insert(number, group);
            self.later.insert((visible_at, number));
        } else {
            self.wait(number, group);
        }
    }

    /// Puts back a message that an earlier process had given out.
    pub fn restore(&mut self, number: u64, group: Option<&str>, receives: Receives, until: i64, now: i64) {
        let group: Option<Arc<str>> = group.filter(|_| self.is_fifo).map(Arc::from);
        if until > now {
            self.fly(number, group, receives, until);
        } else {
            self.received.insert(number, receives);
            self.wait(number, group);
        }
    }

    fn wait(&mut self, number: u64, group: Option<Arc<str>>) {
        let Some(name) = group else { return self.ready.push_back(number) };
        let group = self.groups.entry(name.clone()).or_default();
        let at = group.waiting.partition_point(|other| *other < number);
        group.waiting.insert(at, number);
        self.waiting_in_groups += 1;
        if group.in_flight == 0 && !group.queued {
            group.queued = true;
            self.turn.push_back(name);
        }
    }

    /// Takes out up to `most` messages to be received; each has to be given to [`Queue::receive`] or
    /// [`Queue::discard`] before anything else happens. A group's messages come in order and block the group.
    pub fn take(&mut self, most: usize) -> Vec<(u64, Option<Arc<str>>)> {
        let limit = if self.is_fifo { MOST_IN_FLIGHT_FIFO } else { MOST_IN_FLIGHT };
        let most = most.min(limit.saturating_sub(self.in_flight.len()));
        let mut taken = Vec::new();
        while taken.len() < most {
            if !self.is_fifo {
                match self.ready.pop_front() {
                    None => break,
                    Some(number) if self.gone.remove(&number) => {}
                    Some(number) => taken.push((number, None)),
                }
                continue;
            }
            let Some(name) = self.turn.pop_front() else { break };
            let Some(group) = self.groups.get_mut(&name) else { continue };
            group.queued = false;
            while taken.len() < most {
                let Some(number) = group.waiting.pop_front() else { break };
                self.waiting_in_groups -= 1;
                group.in_flight += 1;
                taken.push((number, Some(name.clone())));
            }
        }
        taken
    }

    /// Whether as many are in flight as may be.
    pub fn is_full(&self) -> bool {
        self.in_flight.len() >= if self.is_fifo { MOST_IN_FLIGHT_FIFO } else { MOST_IN_FLIGHT }
    }

    /// A message taken out is in flight until `until`; tells how often it has been received with this time.
    pub fn receive(&mut self, number: u64, group: Option<Arc<str>>, until: i64, now: i64) -> Receives {
        let mut receives = self.received.remove(&number).unwrap_or_default();
        receives.count += 1;
        if receives.count == 1 {
            receives.first_at = now;
        }
        self.later.insert((until, number));
        self.in_flight.insert(number, Flight { until, receives, group });
        receives
    }

    /// How often a message taken out was received before.
    pub fn receives_before(&self, number: u64) -> Receives {
        self.received.get(&number).copied().unwrap_or_default()
    }

    /// A message taken out is gone: expired, moved away, not readable.
    pub fn discard(&mut self, number: u64, group: Option<&Arc<str>>) {
        self.received.remove(&number);
        if let Some(name) = group {
            self.landed(name);
        }
    }

    /// A message taken out waits again, as if it had not been touched.
    pub fn put_back(&mut self, number: u64, group: Option<Arc<str>>) {
        match &group {
            None => self.ready.push_front(number),
            Some(name) => {
                let name = name.clone();
                if let Some(found) = self.groups.get_mut(&name) {
                    found.in_flight = found.in_flight.saturating_sub(1);
                }
                self.wait(number, Some(name));
            }
        }
    }

    fn fly(&mut self, number: u64, group: Option<Arc<str>>, receives: Receives, until: i64) {
        if let Some(name) = &group {
            self.groups.entry(name.clone()).or_default().in_flight += 1;
        }
        self.later.insert((until, number));
        self.in_flight.insert(number, Flight { until, receives, group });
    }

    /// One message of a group is no longer in flight.
    fn landed(&mut self, name: &Arc<str>) {
        let Some(group) = self.groups.get_mut(name) else { return };
        group.in_flight = group.in_flight.saturating_sub(1);
        if group.in_flight > 0 {
            return;
        }
        if group.waiting.is_empty() {
            self.groups.remove(name);
        } else if !group.queued {
            group.queued = true;
            self.turn.push_back(name.clone());
        }
    }

    /// Deletes a message by the receipt of its receive number `count`. `false` when that receipt is of no use any more.
    pub fn delete(&mut self, number: u64, count: u32) -> bool {
        if self.in_flight.get(&number).is_some_and(|flight| flight.receives.count == count) {
            if let Some(flight) = self.in_flight.remove(&number) {
                self.later.remove(&(flight.until, number));
                if let Some(name) = &flight.group {
                    self.landed(name);
                }
            }
            return true;
        }
        // Its visibility timeout has passed, but nobody has received it since.
        if !self.is_fifo && self.received.get(&number).is_some_and(|receives| receives.count == count) {
            self.received.remove(&number);
            self.gone.insert(number);
            return true;
        }
        false
    }

    /// A message in flight becomes visible at another time; its receives, or `None` when it is not in flight under this
    /// receipt.
    pub fn change_visibility(&mut self, number: u64, count: u32, until: i64, now: i64) -> Option<Receives> {
        let flight = self.in_flight.get_mut(&number).filter(|flight| flight.receives.count == count)?;
        self.later.remove(&(flight.until, number));
        flight.until = until;
        let receives = flight.receives;
        self.later.insert((until, number));
        self.due(now);
        Some(receives)
    }

    /// How often a message in flight has been received; `None` when it is not in flight.
    pub fn receives_in_flight(&self, number: u64) -> Option<Receives> {
        self.in_flight.get(&number).map(|flight| flight.receives)
    }

    /// Whether a receipt is that of a message in flight.
    pub fn is_in_flight(&self, number: u64, count: u32) -> bool {
        self.in_flight.get(&number).is_some_and(|flight| flight.receives.count == count)
    }

    /// Lets everything be received whose time has come; how many that are.
    pub fn due(&mut self, now: i64) -> usize {
        let mut many = 0;
        while let Some(&(at, number)) = self.later.first() {
            if at > now {
                break;
            }
            self.later.remove(&(at, number));
            many += 1;
            if let Some(flight) = self.in_flight.remove(&number) {
                self.received.insert(number, flight.receives);
                match flight.group {
                    None => self.wait(number, None),
                    Some(name) => {
                        if let Some(group) = self.groups.get_mut(&name) {
                            group.in_flight = group.in_flight.saturating_sub(1);
                        }
                        self.wait(number, Some(name));
                    }
                }
            } else if let Some(group) = self.delayed.remove(&number) {
                self.wait(number, group);
            }
        }
        many
    }

    /// When something can be received that cannot be now.
    pub fn next_due(&self) -> Option<i64> {
        self.later.first().map(|(at, _)| *at)
    }

    pub fn visible(&self) -> usize {
        self.ready.len().saturating_sub(self.gone.len()) + self.waiting_in_groups
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    pub fn delayed(&self) -> usize {
        self.delayed.len()
    }

    /// The message that has waited longest in a standard queue.
    pub fn oldest(&self) -> Option<u64> {
        self.ready.front().copied()
    }

    /// Empties the queue; the numbers that were in it.
    pub fn clear(&mut self) -> Vec<u64> {
        let fresh = Queue::new(self.is_fifo);
        let old = std::mem::replace(self, fresh);
        let waiting = old.groups.into_values().flat_map(|group| group.waiting);
        old.ready
            .into_iter()
            .chain(waiting)
            .chain(old.in_flight.into_keys())
            .chain(old.delayed.into_keys())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_one(queue: &mut Queue, until: i64, now: i64) -> Option<(u64, u32)> {
        let (number, group) = queue.take(1).pop()?;
        Some((number, queue.receive(number, group, until, now).count))
    }

    #[test]
    fn a_message_is_received_deleted_and_gone() {
        let mut queue = Queue::new(false);
        queue.insert(1, None, 0, 0);
        queue.insert(2, None, 0, 0);
        assert_eq!(take_one(&mut queue, 30, 0), Some((1, 1)));
        assert_eq!((queue.visible(), queue.in_flight()), (1, 1));
        assert!(queue.delete(1, 1));
        assert!(!queue.delete(1, 1));
        assert_eq!((queue.visible(), queue.in_flight(), queue.next_due()), (1, 0, None));
    }

    #[test]
    fn what_is_not_deleted_comes_back_and_old_receipts_are_of_no_use() {
        let mut queue = Queue::new(false);
        queue.insert(1, None, 0, 0);
        assert_eq!(take_one(&mut queue, 30, 0), Some((1, 1)));
        assert_eq!(take_one(&mut queue, 30, 0), None);
        assert_eq!(queue.due(30), 1);
        assert_eq!(take_one(&mut queue, 60, 30), Some((1, 2)));
        assert!(!queue.delete(1, 1));
        assert!(queue.delete(1, 2));
    }

    #[test]
    fn a_message_that_came_back_can_still_be_deleted_by_its_last_receipt() {
        let mut queue = Queue::new(false);
        queue.insert(1, None, 0, 0);
        take_one(&mut queue, 30, 0);
        queue.due(31);
        assert!(queue.delete(1, 1));
        assert_eq!((queue.visible(), take_one(&mut queue, 60, 31)), (0, None));
    }

    #[test]
    fn delays_and_changed_visibility() {
        let mut queue = Queue::new(false);
        queue.insert(1, None, 10, 0);
        assert_eq!((queue.delayed(), queue.take(1)), (1, vec![]));
        queue.due(10);
        assert_eq!(take_one(&mut queue, 40, 10), Some((1, 1)));
        assert!(queue.change_visibility(1, 1, 100, 10).is_some());
        queue.due(50);
        assert_eq!(queue.visible(), 0);
        assert!(queue.change_visibility(1, 1, 50, 50).is_some());
        assert_eq!(take_one(&mut queue, 99, 50), Some((1, 2)));
    }

    #[test]
    fn a_group_waits_for_its_messages_in_flight() {
        let mut queue = Queue::new(true);
        for (number, group) in [(1, "a"), (2, "a"), (3, "b"), (4, "a")] {
            queue.insert(number, Some(group), 0, 0);
        }
        let first = queue.take(2);
        let numbers: Vec<u64> = first.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [1, 2]);
        for (number, group) in first {
            queue.receive(number, group, 30, 0);
        }
        assert_eq!(take_one(&mut queue, 30, 0), Some((3, 1)));
        assert_eq!(take_one(&mut queue, 30, 0), None, "group a is blocked");
        assert!(queue.delete(1, 1));
        assert_eq!(take_one(&mut queue, 30, 0), None, "2 is still in flight");
        queue.due(30);
        assert_eq!(take_one(&mut queue, 60, 30), Some((2, 2)), "what failed comes before what follows");
    }

    #[test]
    fn a_million_messages_cost_eight_bytes_each() {
        let mut queue = Queue::new(false);
        (0..1_000_000).for_each(|number| queue.insert(number, None, 0, 0));
        assert_eq!(queue.visible(), 1_000_000);
        assert!(queue.ready.capacity() * size_of::<u64>() <= 16 << 20);
    }
}
