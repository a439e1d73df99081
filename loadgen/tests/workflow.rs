//! The workflow for build servers stays thin: what a verdict means is `loadgen ab --ci`'s, and nothing in it names an address.
//! Whether it is a workflow at all is checked against GitHub's schema in `tests/tests/ci_workflow.rs`.

const WORKFLOW: &str = include_str!("../../configs/ci/regression.yml");

#[test]
fn it_names_no_address() {
    assert!(!WORKFLOW.contains("://"), "an address");
}

#[test]
fn it_leaves_the_policy_to_loadgen_and_makes_green_of_success_alone() {
    let lines: Vec<&str> = WORKFLOW.lines().map(str::trim).collect();
    assert!(lines.iter().any(|line| line.contains("loadgen ab --ci")));
    assert!(lines.contains(&"conclusion: ${{ steps.ab.outputs.conclusion }}"));
    assert!(lines.contains(&"if: needs.measure.outputs.conclusion == 'success'"));
    assert!(lines.iter().any(|line| line.contains("--bench instructions")));
    for excuse in ["continue-on-error", "|| true", "if: always() &&"] {
        assert!(!WORKFLOW.contains(excuse), "{excuse} would hide a regression");
    }
}
