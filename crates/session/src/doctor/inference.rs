//! The roles of a prediction: P0, P1 with the data or without, an outside client, the dealer.

use std::path::Path;

use ariann_gates::Party;

use super::look::pin;
use super::material::{Stock, material};
use super::{Check, Look, Subject};
use crate::Fault;
use crate::config::{DealConfig, QueryConfig, ServeConfig};
use crate::outside::{AssistConfig, ClientConfig, Outside};
use crate::reading;

pub(super) struct Serves(pub ServeConfig);
pub(super) struct Queries(pub QueryConfig);
pub(super) struct Assists(pub AssistConfig);
pub(super) struct Asks(pub ClientConfig);
pub(super) struct Deals(pub DealConfig);

/// Where clients connect, and who they are.
pub(super) fn clients(outside: &Outside, running: bool, look: &mut Look) {
    if outside.clients.is_empty() {
        let found = Check::ok("pin", "clients", "no client is pinned, so nobody may ask");
        look.add(found.problem(Fault::Operator, "put names and fingerprints under [outside.clients]"));
    }
    let pins: Vec<_> = outside.clients.iter().map(|(name, text)| (name.clone(), text.as_str())).collect();
    let allowed = look.pins(&pins);
    look.listen(&outside.listen, &allowed, running);
}

impl Subject for Serves {
    fn name(&self) -> &'static str {
        "p0"
    }

    fn title(&self) -> &'static str {
        "P0"
    }

    fn state(&self) -> Option<&Path> {
        Some(&self.0.state)
    }

    fn examine(&self, look: &mut Look) {
        let config = &self.0;
        let plan = look.plan(&config.plan, Some(config.outside.is_some()));
        look.file("the model", &config.model);
        look.identity(&config.identity);
        let parties = config.pins();
        if parties.is_empty() {
            let found = Check::ok("pin", "P1", "no P1 is pinned, so nobody may connect");
            let advice = "put its fingerprint under `peer`, or those of several under `clients`";
            look.add(found.problem(Fault::Operator, advice));
        }
        let allowed = look.pins(&parties);
        let dealer: Vec<_> = config.dealer.iter().map(|dealer| pin("the dealer", dealer)).collect();
        look.pins(&dealer);
        look.disk_of_material(&config.state, plan.as_ref(), Some(Party::P0));
        let stock = Stock { state: &config.state, files: &config.material, dealer: config.dealer.is_some() };
        let running = material(&stock, plan.as_ref(), Party::P0, look);
        look.listen(&config.listen, &allowed, running);
        config.outside.iter().for_each(|outside| clients(outside, running, look));
        config.dealer.iter().for_each(|dealer| look.reach(dealer, "the dealer"));
    }
}

impl Subject for Queries {
    fn name(&self) -> &'static str {
        "p1"
    }

    fn title(&self) -> &'static str {
        "P1"
    }

    fn state(&self) -> Option<&Path> {
        Some(&self.0.state)
    }

    fn examine(&self, look: &mut Look) {
        let config = &self.0;
        let plan = look.plan(&config.plan, Some(false));
        look.file("the inputs", &config.input);
        look.identity(&config.identity);
        let dealer = config.dealer.iter().map(|dealer| pin("the dealer", dealer));
        look.pins(&std::iter::once(pin("P0", &config.peer)).chain(dealer).collect::<Vec<_>>());
        look.disk_of_material(&config.state, plan.as_ref(), Some(Party::P1));
        let stock = Stock { state: &config.state, files: &config.material, dealer: config.dealer.is_some() };
        material(&stock, plan.as_ref(), Party::P1, look);
        look.reach(&config.peer, "P0");
        config.dealer.iter().for_each(|dealer| look.reach(dealer, "the dealer"));
    }
}

impl Subject for Assists {
    fn name(&self) -> &'static str {
        "p1"
    }

    fn title(&self) -> &'static str {
        "P1 for outside clients"
    }

    fn state(&self) -> Option<&Path> {
        Some(&self.0.state)
    }

    fn examine(&self, look: &mut Look) {
        let config = &self.0;
        let plan = look.plan(&config.plan, Some(true));
        look.identity(&config.identity);
        let dealer = config.dealer.iter().map(|dealer| pin("the dealer", dealer));
        look.pins(&std::iter::once(pin("P0", &config.peer)).chain(dealer).collect::<Vec<_>>());
        look.disk_of_material(&config.state, plan.as_ref(), Some(Party::P1));
        let stock = Stock { state: &config.state, files: &config.material, dealer: config.dealer.is_some() };
        let running = material(&stock, plan.as_ref(), Party::P1, look);
        clients(&config.outside, running, look);
        look.reach(&config.peer, "P0");
        config.dealer.iter().for_each(|dealer| look.reach(dealer, "the dealer"));
    }
}

impl Subject for Asks {
    fn name(&self) -> &'static str {
        "client"
    }

    fn title(&self) -> &'static str {
        "an outside client"
    }

    fn state(&self) -> Option<&Path> {
        None
    }

    fn examine(&self, look: &mut Look) {
        let config = &self.0;
        let plan = look.plan(&config.plan, Some(true));
        let subject = config.input.display().to_string();
        match &plan {
            Some(plan) => {
                let items = reading::items(plan, &config.input, config.limit);
                look.parsed("data", subject, items, |items| format!("{} items that fit the plan", items.count));
            }
            None => look.file("the inputs", &config.input),
        }
        look.identity(&config.identity);
        look.pins(&[pin("P0", &config.p0), pin("P1", &config.p1)]);
        look.reach(&config.p0, "P0");
        look.reach(&config.p1, "P1");
    }
}

impl Subject for Deals {
    fn name(&self) -> &'static str {
        "dealer"
    }

    fn title(&self) -> &'static str {
        "the dealer"
    }

    fn state(&self) -> Option<&Path> {
        Some(&self.0.state)
    }

    fn examine(&self, look: &mut Look) {
        let config = &self.0;
        let plan = look.plan(&config.plan, None);
        look.disk_of_material(config.out.as_deref().unwrap_or(&config.state), plan.as_ref(), None);
        if let Some(serve) = &config.serve {
            look.identity(&serve.identity);
            let allowed = look.pins(&[("P0".to_string(), serve.p0.as_str()), ("P1".to_string(), serve.p1.as_str())]);
            look.listen(&serve.listen, &allowed, false);
        }
    }
}
