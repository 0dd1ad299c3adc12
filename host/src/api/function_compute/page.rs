//! Lists, page by page.

use serde::Deserialize;
use utoipa::IntoParams;

use crate::api::error::ApiError;
use crate::api::given::InQuery;

const ROWS_USUAL: usize = 20;
const ROWS_MAX: usize = 100;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Asked {
    /// 1 to 100; 20 if it is not given.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<usize>,
    /// Only names that begin so.
    prefix: Option<String>,
    /// The first name.
    start_key: Option<String>,
    /// Of the page before.
    next_token: Option<String>,
}

pub type Pages = InQuery<Asked>;

pub fn asked(pages: Pages) -> Result<Asked, ApiError> {
    let InQuery(asked) = pages;
    match asked.limit {
        Some(limit) if !(1..=ROWS_MAX).contains(&limit) => {
            Err(ApiError::bad_request(format!("`limit` is {limit}; expected 1 to {ROWS_MAX}")))
        }
        _ => Ok(asked),
    }
}

impl Asked {
    /// One page of what is there by name, in the order of the names, and the first name of the next page.
    pub fn page<T>(&self, mut rows: Vec<(String, T)>) -> (Vec<T>, Option<String>) {
        let start = self.next_token.as_deref().or(self.start_key.as_deref()).unwrap_or_default();
        let prefix = self.prefix.as_deref().unwrap_or_default();
        rows.retain(|(name, _)| name.as_str() >= start && name.starts_with(prefix));
        rows.sort_by(|(a, _), (b, _)| a.cmp(b));
        let rest = rows.split_off(rows.len().min(self.limit.unwrap_or(ROWS_USUAL)));
        let next = rest.into_iter().next().map(|(name, _)| name);
        (rows.into_iter().map(|(_, row)| row).collect(), next)
    }
}
