//! A row that travels with whatever is written next: whoever asks another service to make something can note, in the very
//! batch in which it is made, that it was. After a crash the note says whether it was.

use std::cell::RefCell;

use tidemill_store::Batch;

type Rider = Box<dyn FnOnce(&mut Batch) + Send>;

tokio::task_local! {
    static WAITING: RefCell<Option<Rider>>;
}

/// Runs `work`; the first batch that it submits through [`crate::Platform::submit`] takes what `rider` puts into it.
pub async fn with<T>(rider: impl FnOnce(&mut Batch) + Send + 'static, work: impl Future<Output = T>) -> T {
    WAITING.scope(RefCell::new(Some(Box::new(rider))), work).await
}

pub(crate) fn board(batch: &mut Batch) {
    let rider = WAITING.try_with(|waiting| waiting.borrow_mut().take());
    if let Ok(Some(rider)) = rider {
        rider(batch);
    }
}

#[cfg(test)]
mod tests {
    use tidemill_store::{Partition, Table};

    use crate::Platform;

    const NOTES: Table<String, u8> = Table::new("test.note");

    #[tokio::test]
    async fn only_the_first_batch_takes_the_rider() {
        let platform = Platform::for_tests();
        let note = |name: &'static str| {
            move |batch: &mut tidemill_store::Batch| {
                batch.put_in(Partition::FIRST, &NOTES, &name.to_string(), &1);
            }
        };
        let write = |name: &str| {
            let mut batch = tidemill_store::Batch::new(Partition::FIRST);
            batch.put(&NOTES, &name.to_string(), &0);
            platform.submit(batch).expect("taken")
        };
        super::with(note("rider"), async {
            write("first").await;
            write("second").await;
        })
        .await;
        write("third").await;
        let all = platform.store.all(&NOTES, Partition::FIRST).expect("whole");
        let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["first", "rider", "second", "third"]);
    }
}
