//! Filter patterns at the API: `TestMetricFilter`, and the refusal of what is no pattern. The language itself is
//! `engines/log-filter`.

use tidemill_log_filter::Filter;
use tidemill_platform::{Cx, Fault};

use crate::{
    Logs,
    api::{
        InvalidParameterException, MetricFilterMatchRecord, TestMetricFilterRequest, TestMetricFilterResponse,
    },
};

/// Reads a pattern.
///
/// # Errors
/// `InvalidParameterException`, with what is wrong.
pub fn parse(pattern: Option<&str>) -> Result<Filter, Fault> {
    Filter::parse(pattern.unwrap_or_default()).map_err(|invalid| {
        InvalidParameterException::new(format!("Invalid filter pattern: {invalid}")).into()
    })
}

pub async fn test_metric_filter(
    _: &Logs,
    _: &Cx,
    input: TestMetricFilterRequest,
) -> Result<TestMetricFilterResponse, Fault> {
    let filter = parse(Some(&input.filter_pattern))?;
    let numbered = (1..).zip(input.log_event_messages);
    let matches = numbered.filter(|(_, message)| filter.matches(message)).map(|(number, message)| {
        MetricFilterMatchRecord {
            event_number: Some(number),
            extracted_values: Some(filter.extract(&message).into_iter().collect()),
            event_message: Some(message),
        }
    });
    Ok(TestMetricFilterResponse { matches: Some(matches.collect()) })
}
