//! Values of the configuration: those of the manifest, as this host has them, and no others.

use std::collections::BTreeMap;

use keylane_capability::bindings::wasi::config::store::Host;
use keylane_capability::{Capabilities, GuestState, HostResources};
use keylane_deployment::ConfigGrant;

use crate::support::{HANDLER, Surroundings};

fn named(values: &[(&str, &str)]) -> BTreeMap<String, String> {
    values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

async fn value(state: &mut GuestState, name: &str) -> Option<String> {
    state.get(name.to_owned()).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_handler_sees_its_own_values_as_this_host_has_them() {
    let mut surroundings = Surroundings::new("");
    let values = named(&[("currency", "EUR"), ("region", "north")]);
    surroundings.manifest.grants.config = Some(ConfigGrant { values });
    let config = BTreeMap::from([
        (HANDLER.to_owned(), named(&[("region", "south"), ("unknown", "x")])),
        ("other".to_owned(), named(&[("currency", "USD")])),
    ]);
    let resources = HostResources { config, ..surroundings.resources().await };
    let capabilities = Capabilities::new(resources);
    let prepared = capabilities.prepare(&surroundings.manifest, surroundings.dir.path()).await.unwrap();
    let mut state = prepared.state();
    assert_eq!(value(&mut state, "currency").await.as_deref(), Some("EUR"));
    assert_eq!(value(&mut state, "region").await.as_deref(), Some("south"));
    assert_eq!(value(&mut state, "unknown").await, None, "the manifest does not name it");
    let all = state.get_all().await.unwrap().unwrap();
    assert_eq!(
        all.into_iter().collect::<BTreeMap<_, _>>(),
        named(&[("currency", "EUR"), ("region", "south")])
    );
}

#[tokio::test]
async fn without_a_grant_nothing_answers() {
    let surroundings = Surroundings::new("");
    let mut state = surroundings.prepared().await.state();
    assert!(state.get("currency".to_owned()).await.is_err());
    let import = "wasi:config/store@0.2.0-rc.1";
    let refused =
        surroundings.capabilities().check(&surroundings.manifest, &[import]).unwrap_err().to_string();
    assert!(refused.contains("write [grants.config]"), "{refused}");
}
