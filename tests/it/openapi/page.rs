//! The page at `/docs`, as a person uses it: in a real browser.

use serde_json::Value as Json;

use crate::harness::browser::{Page, chromium};
use crate::harness::{PASSWORD, gateway};

/// Needs a Chromium.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_logs_in_on_the_page_and_tries_an_operation() {
    let Some(chromium) = chromium().await else { return };
    let gw = gateway().echo_thing("echo-1").start().await;
    let mut page = Page::open(&chromium, &gw).await;
    page.go(&format!("{}/docs/", gw.url())).await;

    let login = "#operations-session-login_login";
    try_out(&mut page, login).await;
    let body = format!("{login} textarea.body-param__text");
    let proposed = page.until(&format!("document.querySelector('{body}')?.value")).await;
    let mut proposed: Json = serde_json::from_str(proposed.as_str().unwrap()).unwrap();
    assert_eq!(proposed["params"]["UserName"], "admin", "{proposed}");
    proposed["params"]["Password"] = PASSWORD.into();
    page.fill(&body, &proposed.to_string()).await;
    execute(&mut page, login, "200", "success").await;

    let things = "#operations-things-ledge_things";
    try_out(&mut page, things).await;
    let said = execute(&mut page, things, "200", "echo-1").await;
    assert!(said.contains(r#""driver": "echo_thing""#), "{said}");

    let own = format!("{}/", gw.url());
    for url in page.asked() {
        assert!(url.starts_with(&own) || url.starts_with("data:"), "{url} is not of the gateway");
    }
    for path in ["docs/swagger-ui-bundle.js", "openapi.json", "auth/login", "ledge/v1/things"] {
        assert!(page.asked().any(|url| url.strip_prefix(&own) == Some(path)), "{path} was not asked for");
    }
    assert!(page.complaints().is_empty(), "{:?}", page.complaints());
    // What would ask somebody else is kept from it, and is seen here.
    let asked = page.evaluate("fetch('https://127.0.0.2:1/').then(() => 'answered', () => 'kept')").await;
    assert_eq!(asked, "kept");
    let complaints = page.complaints();
    assert!(complaints.iter().any(|said| said.to_string().contains("Content Security Policy")), "{complaints:?}");
    page.close().await;
}

async fn try_out(page: &mut Page, operation: &str) {
    page.click(&format!("{operation} .opblock-summary-method")).await;
    page.click(&format!("{operation} .try-out__btn")).await;
}

/// Executes an operation, and gives what the page shows of its answer.
async fn execute(page: &mut Page, operation: &str, status: &str, wanted: &str) -> String {
    page.click(&format!("{operation} .execute")).await;
    let answer = format!("{operation} .live-responses-table tbody");
    page.shows(&format!("{answer} .response-col_status"), status).await;
    page.shows(&answer, wanted).await
}
