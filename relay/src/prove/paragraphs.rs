//! What an operator may write into a privacy policy, as this server is configured. Claims about the sandbox are made only where
//! they were just proven.

use super::facts::Facts;

/// One paragraph each. `proven`: every check holds now.
pub fn paragraphs(facts: &Facts, proven: bool) -> Vec<String> {
    let mut text: Vec<&str> = Vec::new();
    if facts.direct_first {
        text.push(
            "Your call is encrypted between you and the person you talk with. Where both of you may, it travels directly between your \
             devices, and then the other person's device learns your IP address. Otherwise it passes through our relay as encrypted packets \
             that we cannot decrypt; it is never decrypted, recorded or written to disk.",
        );
    } else {
        text.push(
            "Your call passes through our relay as end-to-end encrypted packets that we cannot decrypt; it is never decrypted, recorded or \
             written to disk. The person you talk with does not learn your IP address.",
        );
    }
    if proven {
        text.push(
            "The operating system holds the relay to this: the program cannot open a file for writing, cannot start another program, and \
             has its memory left out of crash dumps.",
        );
    }
    if facts.signalling {
        text.push(
            "Messages during a call are passed on and forgotten, at the latest when the call ends. We keep no record of whom you talked \
             with or when; for half an hour a scrambled note in memory keeps the same two people from being matched again.",
        );
        text.push(
            "What you tell us to find a partner (level, topics, wishes) and what your account says (age group, gender) is held in memory \
             while you are connected and stored nowhere.",
        );
        if facts.reports {
            text.push(
                "If you report somebody, your report and what you enclose are sent to the app's own service and kept there under its rules; \
                 the relay forgets them.",
            );
        }
    }
    if facts.tcp_allocations {
        text.push(
            "Users with credentials may have TCP connections relayed to servers they name; those are not calls, and what travels through \
             them is as private as the user's own program makes it.",
        );
    }
    if facts.cluster {
        text.push(
            "The relay is one of several servers of ours. If the app withdraws an account, they tell each other by a scrambled number, sealed, so \
             that all of them hold to it; nothing of it is written to disk.",
        );
        if facts.signalling {
            text.push(
                "People of all of them can meet. While you look for somebody the others learn your wishes under a scrambled number; if your partner is \
                 connected to another of them, the two tell each other what the call needs. All of that is sealed, passes no other hands, and is \
                 kept nowhere. What you say travels through one of them only.",
            );
        }
    }
    text.push(
        "IP addresses are held in memory while you are connected, and are in no log and no statistic. Nothing is shared with advertisers or \
         analytics services; the program contacts nobody but the people in the call and the app's own service.",
    );
    text.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_addresses_are_promised_only_where_everything_is_relayed() {
        let all = |facts: &Facts, proven| paragraphs(facts, proven).join("\n");
        let facts = Facts { signalling: true, ..Facts::default() };
        assert!(all(&facts, true).contains("does not learn your IP address"));
        let direct = Facts { direct_first: true, ..facts.clone() };
        assert!(all(&direct, true).contains("learns your IP address"));
        assert!(!all(&direct, true).contains("does not learn"));
        assert!(!all(&facts, false).contains("The operating system holds"), "not proven, not promised");
        assert!(!all(&facts, true).contains("report"), "there is nowhere for reports to go");
    }
}
