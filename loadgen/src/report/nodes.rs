//! The nodes of a target that has several: a row each and the total, and calls within one node beside calls across two.

use serde_json::{Value, json};

use super::{Run, json::distribution, number, table::line};
use crate::{
    book::{ByNode, Kind, Row},
    stats::latency::Distribution,
};

/// As `--json` has it.
pub(super) fn render(nodes: &ByNode) -> Value {
    json!({
        "rows": nodes.rows.iter().map(|node| row(node, Some(&node.url))).collect::<Vec<_>>(),
        "total": row(&nodes.total(), None),
        "same_node": kind(&nodes.same),
        "across_nodes": kind(&nodes.across),
        "rematch": distribution(&nodes.rematch.0),
    })
}

fn row(row: &Row, url: Option<&str>) -> Value {
    json!({
        "url": url,
        "connected": row.connected,
        "sides_up": row.sides_up,
        "failed": row.failed,
        "refused": row.refused,
        "lost": row.lost,
        "resumed": row.resumed,
        "came_over": row.came_over,
    })
}

fn kind(kind: &Kind) -> Value {
    json!({
        "calls_up": kind.calls_up,
        "calls_failed": kind.calls_failed,
        "moved_sides": kind.moved,
        "moved_allocate": distribution(&kind.moved_allocate.0),
        "decision": distribution(&kind.decision.0),
        "setup_after_match": distribution(&kind.setup_after_match.0),
        "setup": distribution(&kind.setup.0),
    })
}

/// As the table has it; nothing where there is one node.
pub(super) fn table(out: &mut String, run: &Run) {
    let Some(nodes) = &run.book.by_node else { return };
    let total = nodes.total();
    let named = nodes.rows.iter().map(|node| (node.url.as_str(), node)).chain([("all nodes", &total)]);
    line(out, "");
    line(
        out,
        &format!(
            "{:<34}{:>10}{:>10}{:>8}{:>9}{:>7}{:>9}{:>11}",
            "node", "connected", "sides up", "failed", "refused", "lost", "resumed", "came over"
        ),
    );
    for (name, Row { connected, sides_up, failed, refused, lost, resumed, came_over, .. }) in named {
        line(
            out,
            &format!(
                "{name:<34}{connected:>10}{sides_up:>10}{failed:>8}{refused:>9}{lost:>7}{resumed:>9}{came_over:>11}"
            ),
        );
    }
    for (name, kind) in [("within one node", &nodes.same), ("across two", &nodes.across)] {
        let Kind { calls_up, calls_failed, moved, .. } = kind;
        line(
            out,
            &format!(
                "calls {name}: {calls_up} up, {calls_failed} failed, {moved} sides moved; decision {}, set-up after match {}, set-up {} ms",
                spread(&kind.decision.0),
                spread(&kind.setup_after_match.0),
                spread(&kind.setup.0),
            ),
        );
    }
    if !nodes.rematch.0.is_empty() {
        line(out, &format!("matched again after {} ms", spread(&nodes.rematch.0)));
    }
}

fn spread(of: &Distribution) -> String {
    let cell = |percent| of.percentile_millis(percent).map_or_else(|| "—".to_owned(), number);
    format!("p50 {} p99 {}", cell(50.0), cell(99.0))
}
