//! `vectors/exit_*.json`: what Rust and the contracts must agree on, byte for byte and unit for unit.

use lifeboat_engine::types::{Address, Cash, Price, UnderlyingId};
use lifeboat_proof::exit::*;
use serde_json::{Value, json};

use super::trees::{leaf, summary, withdrawal};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors/");
/// Regenerates the files instead of comparing them.
const WRITE: &str = "LIFEBOAT_WRITE_VECTORS";

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
    format!("0x{}", digits.collect::<String>())
}

fn entry(underlying: u8, ladder: Ladder) -> UnderlyingLadder {
    UnderlyingLadder {
        underlying: UnderlyingId::new(underlying),
        ladder,
    }
}

/// Prices of interest on a grid: levels, between them, the ends and far past them.
fn prices(step: u64) -> Vec<i64> {
    let step = i64::try_from(step).unwrap();
    let end = step.saturating_mul(1 << 20);
    let mut prices = vec![
        0,
        1,
        step - 1,
        step,
        step + 1,
        8 * step,
        8 * step + step / 3,
    ];
    prices.extend([
        15 * step,
        16 * step - 1,
        16 * step,
        16 * step + 1,
        17 * step + step / 7,
    ]);
    prices.extend([end - 1, end, end.saturating_add(1), i64::MAX]);
    prices
}

/// A short call, a straddle, and the steepest ladder there is.
fn shapes() -> [Ladder; 3] {
    let level = |level: usize| i64::try_from(level).unwrap() - 8;
    let call = core::array::from_fn(|at| -level(at).max(0) * 1_234_567_891 - 13);
    let straddle = core::array::from_fn(|at| 999_999_937 * level(at).abs());
    let edge = core::array::from_fn(|at| if at % 2 == 0 { i64::MAX } else { i64::MIN });
    [call, straddle, edge].map(Ladder)
}

fn ladder_case(step: u64, price: i64) -> Value {
    let point = Grid::from_step(step).unwrap().point(Price::new(price));
    let value = |ladder| {
        ExitValue::of(Cash::new(-7), &[entry(0, ladder)], &[point])
            .unwrap()
            .get()
    };
    json!({
        "step": step.to_string(),
        "price": price.to_string(),
        "cell": point.cell(),
        "weight": point.weight().to_string(),
        "scaled": shapes().map(|ladder| ladder.value_scaled(point).to_string()),
        "values": shapes().map(|ladder| value(ladder).to_string()),
    })
}

fn ladders() -> Value {
    let steps = [1_u64, 7, 375_000_000, 11_957_938_250, 1 << 40];
    let cases: Vec<Value> = steps
        .iter()
        .flat_map(|step| {
            prices(*step)
                .into_iter()
                .map(|price| ladder_case(*step, price))
        })
        .collect();
    json!({
        "rule": "cell = min(price / step, 15); weight = (price - cell*step) * 2^32 / step, rounded \
            down, the price cut to 0..2^20*step; scaled = L[cell]*2^32 + (L[cell+1]-L[cell])*weight; \
            value = floor((cash*2^32 + sum of scaled) / 2^32); the cases' cash is -7",
        "ladders": shapes().map(|ladder| ladder.0.map(|level| level.to_string())),
        "count": cases.len(),
        "cases": cases,
    })
}

fn siblings(tree: &ExitTree, index: u32) -> Vec<String> {
    let proof = tree.prove(index).unwrap();
    proof
        .siblings
        .iter()
        .flatten()
        .map(|digest| hex(&digest.0))
        .collect()
}

fn leaf_tree(count: u32) -> Value {
    let leaves: Vec<ExitLeaf> = (0..count)
        .map(|index| leaf(index, (index % 3) as u8))
        .collect();
    let mut tree = ExitTree::default();
    tree.set_accounts(&leaves.iter().map(ExitLeaf::view).collect::<Vec<_>>());
    let root = tree.root();
    let points = summary().points(&prices_of_leaves()).unwrap();
    let cases: Vec<Value> = leaves
        .iter()
        .map(|leaf| {
            json!({
                "bytes": hex(&leaf.view().encode()),
                "index": leaf.account.get(),
                "owner": hex(&leaf.owner.0),
                "value": leaf.view().value(&points).unwrap().get().to_string(),
                "siblings": siblings(&tree, leaf.account.get()),
            })
        })
        .collect();
    json!({ "count": count, "root": hex(&root.0), "leaves": cases })
}

fn prices_of_leaves() -> [Price; 2] {
    [Price::new(104_321_000_000), Price::new(3_111_000_000)]
}

fn leaves() -> Value {
    json!({
        "rule": "21 | chain 8 | index 4 | owner 20 | cash 8 | critical 8 | n 1 | n times (underlying 1 \
            | 17 levels of 8), big-endian, two's complement; hashed as the trees of commitment.json",
        "steps": summary().underlyings.iter().map(|u| u.grid.step().to_string()).collect::<Vec<_>>(),
        "prices": prices_of_leaves().map(|price| price.get().to_string()),
        "count": 3,
        "trees": [leaf_tree(1), leaf_tree(4), leaf_tree(18)],
    })
}

fn withdrawals() -> Value {
    let mut tree = ExitTree::default();
    (0..6).for_each(|number| tree.set_withdrawal(&withdrawal(number)));
    let root = tree.root();
    let cases: Vec<Value> = (0..6)
        .map(|number| {
            json!({
                "bytes": hex(&withdrawal(number).encode()),
                "recipient": hex(&withdrawal(number).recipient.0),
                "amount": withdrawal(number).amount.get().to_string(),
                "siblings": siblings(&tree, number),
            })
        })
        .collect();
    json!({
        "rule": "22 | chain 8 | number 4 | owner 20 | recipient 20 | amount 8, big-endian",
        "count": 6,
        "root": hex(&root.0),
        "withdrawals": cases,
    })
}

fn deposits() -> Value {
    let mut chain = DepositChain::default();
    let cases: Vec<Value> = (0..4_u8)
        .map(|number| {
            let deposit = Deposit {
                owner: Address([number + 1; 20]),
                amount: Cash::new(1_000_000 * (i64::from(number) + 1)),
            };
            chain = chain.push(&deposit).unwrap();
            json!({
                "owner": hex(&deposit.owner.0),
                "amount": deposit.amount.get().to_string(),
                "hash": hex(&chain.hash.0),
                "total": chain.total.to_string(),
            })
        })
        .collect();
    json!({
        "rule": "hash = keccak256(hash before, 0 at first | number 8 | owner 20 | amount 8 | 25)",
        "count": 4,
        "deposits": cases,
    })
}

fn summaries() -> Value {
    let summary = summary();
    let one = [summary.digest()];
    let three = [withdrawal_digest(), summary.digest(), withdrawal_digest()];
    json!({
        "rule": "digest = keccak256(bytes | 23); exit root = keccak256(digests | 24); bytes: 23 | chain \
            8 | vault 20 | accounts root 32 | accounts cash 8 | withdrawals root 32 | withdrawals count 4 \
            | withdrawals total 8 | deposit cursor 8 | deposits hash 32 | deposits total 8 | forced \
            cursor 8 | crystallised cursor 8 | fund reserve 8 | da commitment 32 | n 1 | n times (step 8 \
            | safe low 8 | safe high 8), big-endian",
        "bytes": hex(&summary.encode()),
        "digest": hex(&summary.digest().0),
        "exit_root_of_one": hex(&exit_root(&one).0),
        "three": three.map(|digest| hex(&digest.0)),
        "exit_root_of_three": hex(&exit_root(&three).0),
    })
}

fn withdrawal_digest() -> lifeboat_engine::types::Digest {
    lifeboat_engine::commitment::leaf_digest(&withdrawal(0).encode())
}

#[test]
fn are_current() {
    let files: [(&str, Value); 5] = [
        ("exit_ladder.json", ladders()),
        ("exit_leaf.json", leaves()),
        ("exit_withdrawal.json", withdrawals()),
        ("exit_deposit.json", deposits()),
        ("exit_summary.json", summaries()),
    ];
    for (name, generated) in files {
        let path = format!("{FOLDER}{name}");
        if std::env::var_os(WRITE).is_some() {
            let text = serde_json::to_string_pretty(&generated).unwrap();
            std::fs::write(&path, text + "\n").unwrap();
        }
        let stored: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert!(
            stored == generated,
            "vectors/{name} is not what the code gives; if that is meant, run `cargo xtask vectors` \
             and say so in the changelog"
        );
    }
}
