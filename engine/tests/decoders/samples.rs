//! One valid command of each kind, with every optional part once there and once not.

use lifeboat_engine::Command;
use lifeboat_engine::auction::{CIPHERTEXT_BYTES, SealSignature};
use lifeboat_engine::command::{
    Action, AmendOrder, CancelScope, Crystallisation, ForcedRequest, ForwardPrice,
    MarketMakerProtection, MassQuote, Observation, OptionTerms, OrderPrice, OrderRef, PlaceOrder,
    Proposal, QuoteEntry, QuoteSide, Report, SealOrder, SourcePrice, UserCommand, UserPayload,
    UserSignature, ValidatorCommand, ValidatorPayload, VaultEvent,
};
use lifeboat_engine::types::{
    AccountId, Address, Cash, ClientOrderId, Digest, InstrumentId, MarginModel, Nonce, OptionKind,
    OrderId, PostOnly, Price, PublicKey, Qty, RecoveryPolicy, SelfTradePrevention, SettlementChain,
    Side, TimeInForce, TimeMs, UnderlyingId, ValidatorId,
};
use lifeboat_engine::vault::Deposit;

/// The commands.
pub fn commands() -> Vec<Command> {
    let signatures = [
        UserSignature::Session {
            key: PublicKey([3; 32]),
            signature: [4; 64],
        },
        UserSignature::Owner { signature: [5; 65] },
    ];
    let users = actions().into_iter().zip(signatures.into_iter().cycle());
    let validators = reports().into_iter().map(|report| {
        let payload = ValidatorPayload {
            validator: ValidatorId::new(2),
            nonce: Nonce::new(9),
            report,
        };
        Command::Validator(ValidatorCommand {
            payload,
            key: PublicKey([11; 32]),
            signature: [6; 64],
        })
    });
    users
        .map(|(action, signature)| {
            let payload = UserPayload {
                account: AccountId::new(7),
                nonce: Nonce::new(1_000),
                valid_until: TimeMs::new(1_790_000_000_000),
                action,
            };
            Command::User(UserCommand { payload, signature })
        })
        .chain(validators)
        .collect()
}

fn actions() -> Vec<Action> {
    let key = PublicKey([8; 32]);
    let mut actions = vec![
        Action::PlaceOrder(limit_order()),
        Action::PlaceOrder(market_order()),
        Action::MassQuote(quotes()),
        Action::SetMarketMakerProtection(MarketMakerProtection {
            underlying: UnderlyingId::new(1),
            interval_ms: 500,
            frozen_ms: 1_000,
            qty_max: Qty::new(500_000_000),
            delta_max: Qty::new(100_000_000),
            vega_max: Cash::new(1_000_000_000),
        }),
        Action::RegisterSession {
            key,
            expires_at: TimeMs::new(1_800_000_000_000),
        },
        Action::RevokeSession { key },
        Action::SetMarginModel(MarginModel::Standard),
        Action::BidLiquidation {
            account: AccountId::new(4),
            part_ppm: 250_000,
            price_max: Cash::new(-5_000_000),
        },
        Action::Withdraw {
            chain: SettlementChain::new(1),
            recipient: Address([9; 20]),
            amount: Cash::new(5_000_000),
        },
        Action::SealOrder(Box::new(SealOrder {
            underlying: UnderlyingId::new(0),
            auction: 3,
            ciphertext: [5; CIPHERTEXT_BYTES],
            bond: Cash::new(50_000_000),
        })),
        Action::WithdrawSealed {
            underlying: UnderlyingId::new(0),
            auction: 3,
            seal: 7,
        },
    ];
    let orders = [
        OrderRef::Id(OrderId::from_parts(3, 12)),
        OrderRef::ClientId(ClientOrderId::new(77)),
    ];
    for order in orders {
        actions.push(Action::CancelOrder(order));
        actions.push(Action::AmendOrder(AmendOrder {
            order,
            qty: Qty::new(2_000_000),
            price: Price::new(150_000_000),
            post_only: PostOnly::Slide,
        }));
    }
    let scopes = [
        CancelScope::Account,
        CancelScope::Underlying(UnderlyingId::new(1)),
        CancelScope::Instrument(InstrumentId::new(40)),
        CancelScope::Quotes,
    ];
    actions.extend(scopes.map(Action::CancelAll));
    actions
}

fn limit_order() -> PlaceOrder {
    PlaceOrder {
        instrument: InstrumentId::new(40),
        side: Side::Buy,
        qty: Qty::new(1_000_000),
        price: OrderPrice::Limit(Price::new(125_000_000)),
        time_in_force: TimeInForce::GoodTilDate(TimeMs::new(1_790_000_500_000)),
        post_only: PostOnly::Reject,
        reduce_only: true,
        self_trade: SelfTradePrevention::CancelBoth,
        recovery: RecoveryPolicy::Keep,
        protected: false,
        client_id: ClientOrderId::new(77),
        label: b"a label of some length".to_vec(),
    }
}

fn market_order() -> PlaceOrder {
    PlaceOrder {
        side: Side::Sell,
        price: OrderPrice::Market,
        time_in_force: TimeInForce::ImmediateOrCancel,
        post_only: PostOnly::Off,
        reduce_only: false,
        label: Vec::new(),
        ..limit_order()
    }
}

fn quotes() -> MassQuote {
    let side = |price| QuoteSide {
        price: Price::new(price),
        qty: Qty::new(3_000_000),
    };
    let entry = |instrument, bid, ask| QuoteEntry {
        instrument: InstrumentId::new(instrument),
        bid,
        ask,
    };
    MassQuote {
        entries: vec![
            entry(1, Some(side(99_000_000)), Some(side(101_000_000))),
            entry(2, None, Some(side(50_000_000))),
            entry(3, None, None),
        ],
        recovery: RecoveryPolicy::Cancel,
    }
}

fn reports() -> Vec<Report> {
    let source = SourcePrice {
        price: Price::new(60_000_000_000),
        updated_at: TimeMs::new(5),
    };
    let reference = Digest([9; 32]);
    vec![
        Report::Observe(Observation {
            underlying: UnderlyingId::new(0),
            observed_at: TimeMs::new(6),
            sources: vec![Some(source), None, Some(source)],
            forwards: vec![ForwardPrice {
                expiry: TimeMs::new(7),
                price: Price::new(61_000_000_000),
            }],
        }),
        Report::Attest(Proposal::ListOption(OptionTerms {
            underlying: UnderlyingId::new(0),
            expiry: TimeMs::new(1_798_000_000_000),
            strike: Price::new(100_000_000_000),
            kind: OptionKind::Put,
        })),
        Report::Attest(Proposal::SetHalt {
            halted: true,
            reference,
        }),
        Report::ShareOpening {
            auction: 3,
            participant: 2,
            share: SealSignature([6; 48]),
        },
        Report::OpenAuction {
            auction: 3,
            signature: SealSignature([7; 48]),
        },
    ]
    .into_iter()
    .chain(vault_events().map(|event| {
        Report::Attest(Proposal::Vault {
            chain: SettlementChain::new(31_337),
            event,
        })
    }))
    .collect()
}

fn vault_events() -> [VaultEvent; 6] {
    let owner = Address([1; 20]);
    let amount = Cash::new(10_000_000);
    let deposits = vec![Deposit { owner, amount }; 2];
    [
        VaultEvent::Deposits {
            first: 3,
            deposits: deposits.clone(),
        },
        VaultEvent::DepositsUnwound {
            first: 3,
            previous: Digest([8; 32]),
            deposits,
        },
        VaultEvent::ForcedRequests {
            first: 1,
            requests: vec![ForcedRequest {
                owner,
                amount,
                recipient: Address([2; 20]),
            }],
        },
        VaultEvent::Crystallised {
            first: 0,
            accounts: vec![Crystallisation {
                account: AccountId::new(5),
                cash: amount,
                paid: Cash::new(7),
            }],
        },
        VaultEvent::Anchored {
            block: 9,
            assets: amount,
            paid: Cash::ZERO,
        },
        VaultEvent::Frozen,
    ]
}
