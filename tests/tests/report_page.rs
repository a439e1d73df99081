//! The page a run leaves: it opens without a network and with scripts forbidden, obeys the rules of accessibility in both
//! schemes, on a phone and on paper.

use crate::page_access::{NARROW, axe, obeys_the_rules};
use crate::people::one_test_at_a_time;
use crate::report_formats::recorded;
use e2e::browser::{Browser, Driver, Microphone};
use serde_json::json;
use std::path::Path;

#[test]
fn the_page_of_a_run_opens_offline_without_scripts_and_obeys_the_rules_in_both_schemes_on_a_phone_and_on_paper() {
    let folder = recorded();
    let _turn = one_test_at_a_time();
    let (driver, axe) = (Driver::start(), axe());
    let browser = driver.browser_with(Microphone::Refused, &["--window-size=1100,900"]);
    browser.devtools("Network.enable", json!({}));
    let offline = json!({ "offline": true, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0 });
    browser.devtools("Network.emulateNetworkConditions", offline);
    browser.devtools("Emulation.setScriptExecutionDisabled", json!({ "value": true }));
    browser.open(&format!("file://{}", folder.join("page.html").display()));
    browser.devtools("Emulation.setScriptExecutionDisabled", json!({ "value": false }));
    assert_eq!(browser.run("return document.scripts.length + performance.getEntriesByType('resource').length"), 0);
    let plots =
        browser.run("return [...document.querySelectorAll('svg')].filter((one) => one.getBBox().height > 50).length");
    assert!(plots.as_u64().unwrap() >= 8, "{plots} plots");
    assert!(browser.text("h1").starts_with("loadgen:"));

    for scheme in ["light", "dark"] {
        media(&browser, "screen", scheme);
        obeys_the_rules(&browser, &format!("report, {scheme}"), axe.as_deref());
        browser.screenshot(&folder.join(format!("report-{scheme}.png")));
    }
    let colors = "return getComputedStyle(document.body).backgroundColor + getComputedStyle(document.querySelector('svg text')).fill";
    media(&browser, "screen", "dark");
    let dark = browser.run(colors);
    media(&browser, "print", "dark");
    assert_ne!(browser.run(colors), dark, "on paper it is light although the screen is dark");
    media(&browser, "screen", "light");
    assert_ne!(browser.run(colors), dark);
    fits_a_phone(&browser, axe.as_deref());
    prints(&browser, &folder.join("report.pdf"));
}

fn media(browser: &Browser<'_>, kind: &str, scheme: &str) {
    let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
    browser.devtools("Emulation.setEmulatedMedia", json!({ "media": kind, "features": features }));
}

fn fits_a_phone(browser: &Browser<'_>, axe: Option<&str>) {
    let phone = json!({ "width": NARROW, "height": 640, "deviceScaleFactor": 1, "mobile": true });
    browser.devtools("Emulation.setDeviceMetricsOverride", phone);
    let width = browser.run("return document.documentElement.scrollWidth").as_u64().unwrap();
    assert!(width <= u64::from(NARROW), "the report is {width} pixels wide on a screen of {NARROW}");
    obeys_the_rules(browser, "report, on a phone", axe);
    browser.devtools("Emulation.clearDeviceMetricsOverride", json!({}));
}

/// A few pages of A4, none of them wider than the paper.
fn prints(browser: &Browser<'_>, file: &Path) {
    use base64::Engine;
    // Else it would be printed as on the screen.
    media(browser, "print", "light");
    let paper =
        json!({ "paperWidth": 8.27, "paperHeight": 11.69, "preferCSSPageSize": true, "printBackground": false });
    let printed = browser.devtools("Page.printToPDF", paper);
    let pdf = base64::engine::general_purpose::STANDARD.decode(printed["data"].as_str().unwrap()).unwrap();
    // `/Type /Pages` is the tree they hang on.
    let is_page = |at: &&[u8]| at.starts_with(b"/Type /Page") && at[11] != b's';
    let pages = pdf.windows(12).filter(is_page).count();
    assert!((2..=15).contains(&pages), "{pages} pages");
    std::fs::write(file, pdf).unwrap();
}

/// `SCREENSHOTS=1 cargo test -p e2e pictures_of_a_report` renews the pictures of `loadgen/docs`; no other run writes into the tree.
#[test]
fn pictures_of_a_report_for_the_documentation() {
    if std::env::var_os("SCREENSHOTS").is_none() {
        return;
    }
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../loadgen/docs");
    let page = e2e::daemon::target_directory().join("report-for-docs.html");
    let line = "run --arrivals steps:20,40,60,80x6s --warmup 2s --for 22s --hold exp:1s -q --slo success>=99% --slo setup.p99<2s --html";
    let run =
        std::process::Command::new(e2e::daemon::build("loadgen")).args(line.split_whitespace()).arg(&page).output();
    assert!(matches!(run.unwrap().status.code(), Some(0 | 3 | 5)));
    let _turn = one_test_at_a_time();
    let driver = Driver::start();
    let browser = driver.browser_with(Microphone::Refused, &["--window-size=1000,2700"]);
    browser.open(&format!("file://{}", page.display()));
    for scheme in ["light", "dark"] {
        media(&browser, "screen", scheme);
        browser.screenshot(&docs.join(format!("report-{scheme}.png")));
    }
}
