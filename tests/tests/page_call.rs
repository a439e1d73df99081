//! What the page shows while two people talk: microphones, devices, levels, how voices reach the relay, what was not delivered.

use crate::people::{one_test_at_a_time, two_in_a_call};
use e2e::browser::Driver;
use e2e::{Daemon, eventually};

/// The second of the fake microphones; the first is what the system has.
const CHOOSE_ANOTHER: &str = "
    const microphones = document.querySelector('#microphones');
    const current = recorder.microphones.at(-1).getSettings().deviceId;
    const other = [...microphones.options].find(({ value }) => value !== '' && value !== current);
    microphones.value = other.value;
    microphones.dispatchEvent(new Event('change'));
    return other.value;";

const TEN_AT_ONCE: &str = "
    for (let k = 0; k < 10; k += 1) {
        document.querySelector('#words').value = `word ${k}`;
        document.querySelector('#say').requestSubmit();
    }";

#[test]
fn a_microphone_can_be_seen_at_work_muted_and_changed_in_mid_call() {
    let _turn = one_test_at_a_time();
    let (daemon, driver) = (Daemon::local().start(), Driver::start());
    let (ana, ben) = two_in_a_call(&daemon, &driver);
    ana.page.until("document.querySelector('#own-level').value > 0.01");

    ana.page.click("#mute");
    ben.page.until("document.querySelector('#peer-microphone').innerText === 'Your partner’s microphone is off.'");
    ana.page.until("document.querySelector('#call-microphone').innerText === 'Your microphone is muted.'");
    ana.page.click("#mute");
    ben.page.until("document.querySelector('#peer-microphone').hidden");

    ana.page.click("#screen-call .choose-sound");
    ana.page.until(
        "document.querySelector('#sound-dialog').open && document.querySelectorAll('#microphones option').length > 2",
    );
    let other = ana.page.run(CHOOSE_ANOTHER);
    ana.page.until(&format!("recorder.microphones.at(-1).getSettings().deviceId === {other}"));
    ana.page.until("recorder.microphones.slice(0, -1).every(({ readyState }) => readyState === 'ended')");
    ana.page.until("document.querySelector('#sound-level').value > 0.01");
    ana.page.click("#sound-dialog button");
    ben.hears_more_than(&ben.media());
    assert_eq!(ana.page.run("return document.querySelector('#toast').hidden"), true, "none of this is an error");
}

#[test]
fn gaps_at_the_relay_and_words_that_did_not_arrive_are_shown_and_nothing_is_left_of_them() {
    let _turn = one_test_at_a_time();
    let (daemon, driver) = (Daemon::local().start(), Driver::start());
    let (ana, ben) = two_in_a_call(&daemon, &driver);
    let tell = |up: &str, down: &str| {
        ana.page.run(&format!("recorder.tell({{ t: 'quality', call: recorder.call(), up: '{up}', down: '{down}' }})"))
    };
    tell("poor", "fair");
    let gaps = "Your voice reaches the relay with large gaps. Your partner’s voice reaches the relay with small gaps.";
    assert_eq!(ana.page.text("#relay-quality"), gaps);
    tell("good", "good");
    assert_eq!(ana.page.run("return document.querySelector('#relay-quality').hidden"), true);

    // Faster than the server takes: what it refuses is marked, the rest arrives.
    eventually("something to be refused", || {
        ana.page.run(TEN_AT_ONCE);
        ana.page.run("return document.querySelector('#log li.undelivered') !== null").as_bool().unwrap().then_some(())
    });
    assert_eq!(ana.page.text("#log li.undelivered small"), "Not delivered");
    eventually("the rest to arrive", || {
        let delivered = ana.page.run("return document.querySelectorAll('#log li:not(.undelivered)').length");
        (ben.page.run("return document.querySelectorAll('#log li').length") == delivered).then_some(())
    });
    ana.page.click("#hangup");
    ana.page.until("document.querySelectorAll('#log li').length === 0");
}
