//! X-Ray as functions see it: the trace header of an invocation, and where the X-Ray SDKs send their segments.
//!
//! Nobody collects traces yet: segments are taken, so that the SDKs work, and let go.

use tidemill_platform::{Random, Trace};
use tidemill_sandbox::{FunctionSpec, SegmentSink};

/// The trace as an invocation carries it. A caller's decision to sample is kept; without one, functions with active tracing
/// are sampled, all of their invocations. Always names a parent segment, as Lambda's own segment would be one.
pub fn of_invocation(trace: &Trace, traced: bool, random: &Random) -> Trace {
    let mut carried = trace.clone();
    carried.sampled = trace.sampled.or(Some(traced));
    if traced || trace.parent.is_none() {
        carried.parent = Some(random.hex::<8>());
    }
    carried
}

/// The X-Ray daemon's place until there is a service for what it takes.
pub struct NoCollector;

impl SegmentSink for NoCollector {
    fn segment(&self, function: &FunctionSpec, datagram: &[u8]) {
        tracing::trace!(function = function.name, bytes = datagram.len(), "a segment that nobody collects");
    }
}

#[cfg(test)]
mod tests {
    use tidemill_platform::{Platform, Trace};

    use super::*;

    #[tokio::test]
    async fn active_tracing_samples_what_the_caller_did_not_decide() {
        let cx = Platform::for_tests().cx("000000000000", "us-east-1", Trace::default());
        let root = "Root=1-5759e988-bd862e3fe1be46a994272793";
        for (caller, traced, sampled) in [
            ("", false, Some(false)),
            ("", true, Some(true)),
            (";Sampled=0", true, Some(false)),
            (";Sampled=1", false, Some(true)),
            (";Sampled=?", true, Some(true)),
        ] {
            let trace = Trace::parse(&format!("{root}{caller}")).unwrap();
            let carried = of_invocation(&trace, traced, cx.random());
            assert_eq!((carried.sampled, carried.parent.is_some()), (sampled, true), "{caller} {traced}");
        }
    }

    #[tokio::test]
    async fn a_function_that_is_not_traced_hands_its_callers_segment_on() {
        let cx = Platform::for_tests().cx("000000000000", "us-east-1", Trace::default());
        let trace = Trace::parse("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8").unwrap();
        assert_eq!(of_invocation(&trace, false, cx.random()).parent, trace.parent);
        assert_ne!(of_invocation(&trace, true, cx.random()).parent, trace.parent);
    }
}
