//! The workflow for build servers is one, by GitHub's own schema, which the Python environment of the foreign callers brings along.

use std::path::Path;
use std::process::Command;

#[test]
fn workflow_is_valid_by_githubs_schema() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/ci/regression.yml");
    let check = |file: &Path| {
        let arguments = ["-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"];
        Command::new(e2e::aiortc::python()).args(arguments).arg(file).output().unwrap()
    };
    let sound = check(&file);
    assert!(sound.status.success(), "{sound:?}");

    let folder = std::env::temp_dir().join(format!("workflow-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let broken = folder.join("broken.yml");
    let text = std::fs::read_to_string(&file).unwrap().replace("runs-on:", "runs_on:");
    std::fs::write(&broken, text).unwrap();
    assert!(!check(&broken).status.success(), "a schema that accepts anything proves nothing");
    std::fs::remove_dir_all(folder).unwrap();
}
