//! Whether everybody can use the page: axe-core's rules (WCAG 2.2 AA) and reflow, on every screen, light and dark, wide and on a phone.

use crate::people::{one_test_at_a_time, two_in_a_call};
use e2e::browser::{Browser, Driver};
use e2e::{Daemon, daemon, report, webhook};
use serde_json::json;
use std::path::PathBuf;
use std::process::Command;

/// Fetched from the package registry when the tests run, and not part of this repository.
const AXE: &str = "axe-core@4.14.1";
/// WCAG 2.2, 1.4.10: nothing scrolls sideways at this width.
pub(crate) const NARROW: u32 = 320;
/// Controls that nothing names; looked for even where axe-core cannot be had.
const NAMELESS: &str = "
    return [...document.querySelectorAll('button, input, select, meter, a')]
        .filter((one) => one.checkVisibility())
        .filter((one) => !(one.innerText || one.ariaLabel || one.labels?.length || one.title || one.placeholder))
        .map((one) => one.outerHTML);";

#[test]
fn every_screen_obeys_the_rules_of_accessibility_in_both_schemes_and_on_a_phone() {
    let _turn = one_test_at_a_time();
    let axe = axe();
    let backend = webhook::Receiver::start();
    let (daemon, driver) = (Daemon::local().set(&backend.settings()).start(), Driver::start());
    let (ana, ben) = two_in_a_call(&daemon, &driver);
    ben.types("Hello");
    ana.reads("Hello");
    ana.types("Hello to you");
    let page = &ana.page;
    let looks = |screen: &str| looks_at(page, screen, axe.as_deref());

    page.until("!document.querySelector('#safety').hidden");
    page.run("document.querySelector('#safety').open = true");
    looks("call");
    page.click("#report");
    looks("report");
    page.click("#report-dialog [value=cancel]");
    page.click("#screen-call .choose-sound");
    looks("sound");
    page.click("#sound-dialog button");
    page.run("recorder.tell({ t: 'peer', call: recorder.call(), s: 'mic_off' })");
    page.click("#mute");
    looks("call, muted on both sides");
    ben.page.click("#hangup");
    page.until("!document.querySelector('#screen-wish').hidden");
    looks("wish");
    ana.looks_for_someone();
    page.until("!document.querySelector('#screen-wait').hidden");
    page.run("recorder.tell({ t: 'position', ahead: 3, eta: { p50: 4000, p90: 9000 }, stage: 2, hint: { relax: 'level', would_match: 12 } })");
    page.until("document.querySelector('#hint').innerText.startsWith('12 people or more')");
    looks("wait");
    page.click("#relax");
    page.until("document.querySelector('[name=dist][value=\"5\"]').checked");
    ana.frame_at("server", "tune");
    page.click("#leave");
    page.click("#leave-app");
    looks("you");
    drop(daemon);
    page.click("#screen-you button[type='submit']");
    page.until("!document.querySelector('#screen-offline').hidden");
    looks("offline");
}

/// All schemes and widths of one screen.
pub(crate) fn looks_at(page: &Browser<'_>, screen: &str, axe: Option<&str>) {
    for scheme in ["light", "dark"] {
        let media = json!({ "features": [
            { "name": "prefers-color-scheme", "value": scheme }, { "name": "prefers-reduced-motion", "value": "reduce" }
        ] });
        page.devtools("Emulation.setEmulatedMedia", media);
        obeys_the_rules(page, &format!("{screen}, {scheme}"), axe);
    }
    let phone = json!({ "width": NARROW, "height": 640, "deviceScaleFactor": 1, "mobile": true });
    page.devtools("Emulation.setDeviceMetricsOverride", phone);
    let width = page.run("return document.documentElement.scrollWidth").as_u64().unwrap();
    assert!(width <= u64::from(NARROW), "{screen} is {width} pixels wide on a screen of {NARROW}");
    obeys_the_rules(page, &format!("{screen}, on a phone"), axe);
    page.devtools("Emulation.clearDeviceMetricsOverride", json!({}));
}

pub(crate) fn obeys_the_rules(page: &Browser<'_>, what: &str, axe: Option<&str>) {
    assert_eq!(page.run(NAMELESS), json!([]), "{what}: controls without a name");
    let Some(axe) = axe else { return };
    page.run(&format!("if (!window.axe) {{ {axe} }}"));
    let found = page.run(
        "return axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }).then(({ violations, passes }) =>
            ({ rules: passes.length, wrong: violations.map(({ id, nodes }) => [id, nodes.map(({ html, failureSummary }) => [html, failureSummary])]) }))",
    );
    assert!(found["rules"].as_u64().unwrap() > 10, "{what}: hardly anything was looked at");
    assert_eq!(found["wrong"], json!([]), "{what}");
}

/// The rules' source, or a loud word about why there is none.
pub(crate) fn axe() -> Option<String> {
    let folder: PathBuf = daemon::target_directory().join("axe");
    let script = folder.join("package/axe.min.js");
    if !script.exists() {
        std::fs::create_dir_all(&folder).unwrap();
        let fetch = format!("npm pack --silent {AXE} && tar -xzf axe-core-*.tgz package/axe.min.js");
        let fetched = Command::new("sh").args(["-c", &fetch]).current_dir(&folder).output().unwrap();
        if !fetched.status.success() {
            let why = String::from_utf8_lossy(&fetched.stderr);
            report("not-tested-axe.txt", &format!("not tested with axe-core, which could not be fetched: {why}"));
        }
    }
    std::fs::read_to_string(script).ok()
}
