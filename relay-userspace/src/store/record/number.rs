//! Numbers of the pool. The second version adds carrier, cost, tags and state.

use serde::{Deserialize, Serialize};

use super::{Stored, proxy, read};
use crate::engine::directory::{NumberKind, NumberState, NumberTraits, PoolNumber};
use crate::engine::money::Money;

#[derive(Serialize, Deserialize)]
pub(crate) struct NumberV1 {
    number: String,
    country: String,
    region: Option<String>,
    locality: Option<String>,
    kind: u8,
    voice: bool,
    sms: bool,
    trunk: Option<String>,
}

/// What came before, and what may be done with it.
#[derive(Serialize, Deserialize)]
pub(crate) struct NumberV2(NumberV1, MoreV2);

#[derive(Serialize, Deserialize)]
struct MoreV2 {
    carrier: Option<String>,
    /// Amount and currency.
    monthly_cost: Option<(String, String)>,
    tags: Vec<String>,
    state: u8,
}

impl Stored for PoolNumber {
    const VERSION: u8 = 2;
    type Shape = NumberV2;

    fn to_shape(&self) -> NumberV2 {
        let traits = &self.traits;
        let before = NumberV1 {
            number: self.number.to_string(),
            country: self.country.to_string(),
            region: traits.region.clone(),
            locality: traits.locality.clone(),
            kind: match traits.kind {
                NumberKind::Local => 0,
                NumberKind::TollFree => 1,
                NumberKind::Mobile => 2,
                NumberKind::Internal => 3,
            },
            voice: traits.voice,
            sms: traits.sms,
            trunk: traits.trunk.clone(),
        };
        let more = MoreV2 {
            carrier: traits.carrier.clone(),
            monthly_cost: traits
                .monthly_cost
                .map(|cost| (cost.amount.to_string(), cost.currency.to_string())),
            tags: traits.tags.clone(),
            state: match traits.state {
                NumberState::Active => 0,
                NumberState::Draining => 1,
                NumberState::Quarantined => 2,
                NumberState::Disabled => 3,
            },
        };
        NumberV2(before, more)
    }

    fn from_shape(record: NumberV2) -> Result<Self, String> {
        let NumberV2(before, more) = record;
        let number = from_v1(before)?;
        let cost = |(amount, currency): (String, String)| {
            Money::parse(&amount, &currency).map_err(|error| format!("its cost: {error}"))
        };
        let traits = NumberTraits {
            carrier: more.carrier,
            monthly_cost: more.monthly_cost.map(cost).transpose()?,
            tags: more.tags,
            state: match more.state {
                0 => NumberState::Active,
                1 => NumberState::Draining,
                2 => NumberState::Quarantined,
                3 => NumberState::Disabled,
                other => return Err(format!("{other} is no state of a number")),
            },
            ..number.traits
        };
        Ok(Self { traits, ..number })
    }

    fn from_older(version: u8, record: &[u8]) -> Option<Result<Self, String>> {
        (version == 1).then(|| from_v1(read(record)?))
    }
}

fn from_v1(record: NumberV1) -> Result<PoolNumber, String> {
    Ok(PoolNumber {
        number: proxy(&record.number)?,
        country: record.country.parse().map_err(|_| "its country is not one".to_owned())?,
        traits: NumberTraits {
            region: record.region,
            locality: record.locality,
            kind: match record.kind {
                0 => NumberKind::Local,
                1 => NumberKind::TollFree,
                2 => NumberKind::Mobile,
                3 => NumberKind::Internal,
                other => return Err(format!("{other} is no kind of number")),
            },
            voice: record.voice,
            sms: record.sms,
            trunk: record.trunk,
            ..NumberTraits::default()
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::record::{decode, encode};

    fn number() -> PoolNumber {
        PoolNumber {
            number: "+14155550100".parse().unwrap(),
            country: "US".parse().unwrap(),
            traits: NumberTraits {
                region: Some("CA".into()),
                kind: NumberKind::Mobile,
                sms: true,
                trunk: Some("t".into()),
                ..NumberTraits::default()
            },
        }
    }

    #[test]
    fn the_first_version_is_still_read() {
        let bytes = b"\x01\x0c+14155550100\x02US\x01\x02CA\x00\x02\x01\x01\x01\x01t";
        assert_eq!(decode::<PoolNumber>(bytes).unwrap(), number());
    }

    #[test]
    fn the_second_version_keeps_its_bytes() {
        let plain = number();
        let number = PoolNumber {
            traits: NumberTraits {
                carrier: Some("c".into()),
                monthly_cost: Some("1.15 USD".parse().unwrap()),
                tags: vec!["x".into()],
                state: NumberState::Quarantined,
                ..plain.traits
            },
            ..plain
        };
        let bytes = b"\x02\x0c+14155550100\x02US\x01\x02CA\x00\x02\x01\x01\x01\x01t\x01\x01c\x01\x041.15\x03USD\x01\x01x\x02";
        assert_eq!(encode(&number).unwrap(), bytes);
        assert_eq!(decode::<PoolNumber>(bytes).unwrap(), number);
    }
}
