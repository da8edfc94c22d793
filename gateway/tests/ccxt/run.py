#!/usr/bin/env python3
"""Runs ccxt's Deribit client against a running venue and looks at what it gets.

    python run.py URL KEY SECRET

URL is the gateway (http://127.0.0.1:8080), KEY and SECRET an API key that may trade, on an account
with collateral. The venue must list options on BTC with quotes on both sides. Every call that ccxt
makes to Deribit is made once; what the venue does not offer must be refused with a coded error.
The last line is "N passed, N failed"; the exit code is 1 when anything failed.
"""

import asyncio
import sys
import time
import traceback

import aiohttp
import ccxt
import ccxt.async_support
import ccxt.pro

TIMEOUT_S = 20


class Run:
    """Runs checks by name and counts them."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def done(self, name, error):
        if error is None:
            self.passed += 1
            print(f"ok      {name}")
        else:
            self.failed += 1
            print(f"FAILED  {name}: {error}")

    def check(self, name, body):
        try:
            body()
            self.done(name, None)
        except Exception as error:  # noqa: BLE001 - any failure is a failed check
            self.done(name, describe(error))

    async def check_async(self, name, body):
        try:
            await asyncio.wait_for(body(), TIMEOUT_S)
            self.done(name, None)
        except Exception as error:  # noqa: BLE001
            self.done(name, describe(error))


def describe(error):
    last = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in last if frame.filename == __file__]
    where = f"line {own[-1].lineno}" if own else "?"
    return f"{type(error).__name__}: {error} ({where})"[:600]


def refused(kind, call):
    """The call must raise this ccxt error and not another."""
    try:
        result = call()
    except kind as error:
        return error
    raise AssertionError(f"was not refused but answered {result!r}")


def client(module, url, key, secret):
    exchange = module.deribit({"apiKey": key, "secret": secret, "enableRateLimit": False})
    exchange.urls["api"]["rest"] = url
    exchange.urls["api"]["ws"] = url.replace("http", "ws", 1) + "/ws/api/v2"
    exchange.options["fetchOpenOrders"] = {"code": "BTC"}
    return exchange


def quoted_call(ex):
    """A BTC call with a bid and an ask, nearest the money of the first expiry."""
    summaries = ex.public_get_get_book_summary_by_currency({"currency": "BTC", "kind": "option"})
    index = float(ex.public_get_get_index_price({"index_name": "btc_usdc"})["result"]["index_price"])
    if any(summary["instrument_name"] not in ex.markets_by_id for summary in summaries["result"]):
        # An expiry was listed since: they come at 00:00 UTC.
        ex.load_markets(True)
    best = None
    for summary in summaries["result"]:
        market = ex.markets_by_id[summary["instrument_name"]][0]
        if market["optionType"] != "call" or not summary["bid_price"] or not summary["ask_price"]:
            continue
        away = (market["expiry"], abs(market["strike"] - index))
        if best is None or away < best[0]:
            best = (away, market)
    assert best is not None, "no BTC call has quotes on both sides"
    return best[1]


def market_data(run, ex, market):
    symbol = market["symbol"]

    def markets():
        assert market["type"] == "option" and market["linear"] and not market["inverse"], market
        assert (market["base"], market["quote"], market["settle"]) == ("BTC", "USDC", "USDC")
        assert market["precision"]["price"] > 0 and market["precision"]["amount"] > 0
        assert market["strike"] > 0 and market["expiry"] > ex.milliseconds()
        assert market["id"].startswith("BTC_USDC-") and market["id"].endswith("-C"), market["id"]
        assert market["active"] is True

    def currencies():
        found = ex.fetch_currencies()
        assert {"BTC", "ETH", "USDC"} <= set(found), found.keys()

    def clock():
        assert abs(ex.fetch_time() - ex.milliseconds()) < 60_000

    def status():
        assert ex.fetch_status()["status"] == "ok"

    def book():
        book = ex.fetch_order_book(symbol, 10)
        assert book["symbol"] == symbol and book["bids"] and book["asks"]
        assert book["bids"][0][0] < book["asks"][0][0]
        assert book["bids"] == sorted(book["bids"], reverse=True)
        assert book["asks"] == sorted(book["asks"])
        assert len(book["bids"]) <= 10 and book["nonce"] > 0

    def ticker():
        ticker = ex.fetch_ticker(symbol)
        assert ticker["bid"] < ticker["ask"] and ticker["bidVolume"] > 0
        assert ticker["info"]["mark_price"] > 0 if isinstance(
            ticker["info"]["mark_price"], (int, float)) else float(ticker["info"]["mark_price"]) > 0

    def tickers():
        found = ex.fetch_tickers(params={"code": "BTC"})
        assert symbol in found and found[symbol]["bid"] < found[symbol]["ask"]
        assert all(s.startswith("BTC/") for s in found)

    def ohlcv():
        candles = ex.fetch_ohlcv(symbol, "1m", limit=30)
        for time_ms, first, high, low, last, volume in candles:
            assert time_ms % 60_000 == 0 and low <= min(first, last) <= max(first, last) <= high
            assert volume >= 0

    def greeks():
        greeks = ex.fetch_greeks(symbol)
        assert 0 < greeks["delta"] < 1 and greeks["gamma"] > 0 and greeks["vega"] > 0
        assert greeks["theta"] < 0 and greeks["markImpliedVolatility"] > 1
        assert greeks["underlyingPrice"] > 0

    def option():
        option = ex.fetch_option(symbol)
        assert option["symbol"] == symbol and option["currency"] == "BTC"
        assert option["bidPrice"] < option["midPrice"] < option["askPrice"]

    def chain():
        chain = ex.fetch_option_chain("BTC")
        assert symbol in chain and chain[symbol]["markPrice"] > 0

    def volatility():
        assert isinstance(ex.fetch_volatility_history("BTC"), list)

    def interest():
        interest = ex.fetch_open_interest(symbol)
        assert interest["openInterestAmount"] >= 0

    run.check("load_markets", markets)
    run.check("fetch_currencies", currencies)
    run.check("fetch_time", clock)
    run.check("fetch_status", status)
    run.check("fetch_order_book", book)
    run.check("fetch_ticker", ticker)
    run.check("fetch_tickers", tickers)
    run.check("fetch_ohlcv", ohlcv)
    run.check("fetch_greeks", greeks)
    run.check("fetch_option", option)
    run.check("fetch_option_chain", chain)
    run.check("fetch_volatility_history", volatility)
    run.check("fetch_open_interest", interest)
    run.check("fetch_funding_rate is refused: no perpetuals",
              lambda: refused(ccxt.ExchangeError, lambda: ex.fetch_funding_rate(symbol)))
    run.check("an unknown instrument is refused",
              lambda: refused(ccxt.ExchangeError, lambda: ex.public_get_ticker(
                  {"instrument_name": "BTC-24SEP21-40000-P"})))


def trading(run, ex, market):
    symbol = market["symbol"]
    lot = market["precision"]["amount"]
    tick = market["precision"]["price"]
    seen = {}

    def low_price():
        """Below the best bid, so that the order rests."""
        bid = ex.fetch_order_book(symbol)["bids"][0][0]
        return max(tick, round((bid - 10 * tick) / tick) * tick)

    def create_limit():
        price = low_price()
        label = f"run-{time.time_ns()}"
        order = ex.create_order(symbol, "limit", "buy", lot, price, {"label": label})
        assert order["status"] == "open" and order["symbol"] == symbol, order
        assert order["price"] == price and order["amount"] == lot and order["filled"] == 0
        assert order["side"] == "buy" and order["timeInForce"] == "GTC"
        assert order["info"]["label"] == label
        seen["order"], seen["label"], seen["price"] = order["id"], label, price

    def repeat_label():
        again = ex.create_order(symbol, "limit", "buy", lot, seen["price"], {"label": seen["label"]})
        assert again["id"] == seen["order"], (again["id"], seen["order"])
        mine = [o for o in ex.fetch_open_orders(symbol) if o["info"]["label"] == seen["label"]]
        assert len(mine) == 1, mine

    def fetch_order():
        order = ex.fetch_order(seen["order"])
        assert order["id"] == seen["order"] and order["status"] == "open"

    def open_orders():
        ids = [order["id"] for order in ex.fetch_open_orders(symbol)]
        assert seen["order"] in ids, ids
        ids = [order["id"] for order in ex.fetch_open_orders()]
        assert seen["order"] in ids, ids

    def edit_order():
        price = max(tick, seen["price"] - tick)
        order = ex.edit_order(seen["order"], symbol, "limit", "buy", 2 * lot, price)
        assert order["id"] == seen["order"] and order["amount"] == 2 * lot, order
        assert order["price"] == price and order["status"] == "open"
        assert ex.fetch_order(seen["order"])["amount"] == 2 * lot

    def cancel_order():
        order = ex.cancel_order(seen["order"], symbol)
        assert order["id"] == seen["order"] and order["status"] == "canceled", order
        assert ex.fetch_order(seen["order"])["status"] == "canceled"
        error = refused(ccxt.InvalidOrder, lambda: ex.cancel_order(seen["order"], symbol))
        assert "11044" in str(error), error

    def unknown_order():
        error = refused(ccxt.ExchangeError, lambda: ex.fetch_order("BTC-1"))
        assert "10004" in str(error), error

    def post_only():
        price = low_price()
        order = ex.create_order(symbol, "limit", "buy", lot, price, {"postOnly": True, "timeInForce": "GTC"})
        assert order["status"] == "open" and order["postOnly"] is True
        ex.cancel_order(order["id"], symbol)
        ask = ex.fetch_order_book(symbol)["asks"][0][0]
        error = refused(ccxt.InvalidOrder, lambda: ex.create_order(
            symbol, "limit", "buy", lot, ask, {"postOnly": True}))
        assert "11054" in str(error), error

    def immediate():
        order = ex.create_order(symbol, "limit", "buy", lot, low_price(), {"timeInForce": "IOC"})
        assert order["status"] == "canceled" and order["filled"] == 0, order

    def market_buy():
        order = ex.create_order(symbol, "market", "buy", 3 * lot)
        assert order["status"] == "closed" and order["filled"] == 3 * lot, order
        assert order["average"] > 0 and order["price"] == order["average"] or order["price"] is None
        assert order["trades"] and order["trades"][0]["takerOrMaker"] == "taker"
        assert order["trades"][0]["fee"]["cost"] > 0
        seen["bought"], seen["average"] = order["id"], order["average"]

    def reduce_only():
        order = ex.create_order(symbol, "market", "sell", lot, None, {"reduceOnly": True})
        assert order["filled"] == lot and order["status"] == "closed", order

    def my_trades():
        trades = ex.fetch_my_trades(symbol, limit=100)
        mine = [t for t in trades if t["order"] == seen["bought"]]
        assert mine and abs(sum(t["amount"] for t in mine) - 3 * lot) < 1e-9, mine
        assert all(t["side"] == "buy" and t["takerOrMaker"] == "taker" for t in mine)
        by_order = ex.fetch_order_trades(seen["bought"])
        assert {t["id"] for t in by_order} == {t["id"] for t in mine}
        by_currency = ex.fetch_my_trades(limit=100)
        assert {t["id"] for t in mine} <= {t["id"] for t in by_currency}

    def public_trades():
        trades = ex.fetch_trades(symbol, limit=100)
        assert trades and trades[-1]["symbol"] == symbol and trades[-1]["price"] > 0
        mine = {t["id"] for t in ex.fetch_order_trades(seen["bought"])}
        assert mine <= {t["id"] for t in trades}
        since = ex.fetch_trades(symbol, since=trades[0]["timestamp"], limit=100)
        assert {t["id"] for t in since} >= mine

    def candles():
        candles = ex.fetch_ohlcv(symbol, "1m", limit=5)
        assert candles and sum(candle[5] for candle in candles) > 0, candles

    def closed_orders():
        orders = ex.fetch_closed_orders(symbol)
        found = [o for o in orders if o["id"] == seen["bought"]]
        assert found and found[0]["status"] == "closed" and found[0]["filled"] == 3 * lot

    def positions():
        position = ex.fetch_position(symbol)
        assert position["symbol"] == symbol and position["side"] == "long", position
        assert position["contracts"] > 0 and position["entryPrice"] > 0 and position["markPrice"] > 0
        every = ex.fetch_positions()
        assert any(p["symbol"] == symbol and p["contracts"] == position["contracts"] for p in every)

    def balance():
        balance = ex.fetch_balance()
        usdc = balance["USDC"]
        assert usdc["total"] > 0 and 0 < usdc["free"] <= usdc["total"], usdc
        one = ex.fetch_balance({"code": "USDC"})
        assert one["USDC"]["total"] > 0

    def accounts():
        accounts = ex.fetch_accounts()
        assert len(accounts) == 1 and accounts[0]["type"] == "main"

    def cancel_all():
        for _ in range(3):
            ex.create_order(symbol, "limit", "buy", lot, low_price())
        assert len(ex.fetch_open_orders(symbol)) >= 3
        cancelled = ex.cancel_all_orders(symbol)
        assert int(cancelled[0]["info"]["result"]) >= 3, cancelled
        assert ex.fetch_open_orders(symbol) == []
        ex.create_order(symbol, "limit", "buy", lot, low_price())
        assert int(ex.cancel_all_orders()[0]["info"]["result"]) >= 1
        assert ex.fetch_open_orders() == []

    def bad_orders():
        for kind, code, call in [
            (ccxt.InvalidOrder, "10043", lambda: ex.private_get_buy({
                "instrument_name": market["id"], "amount": lot, "price": tick * 1.5})),
            (ccxt.InvalidOrder, "10021", lambda: ex.private_get_buy({
                "instrument_name": market["id"], "amount": lot / 2, "price": low_price()})),
            (ccxt.BadRequest, "-32602", lambda: ex.private_get_buy({
                "instrument_name": market["id"], "amount": "many", "price": tick})),
            (ccxt.NotSupported, "10033", lambda: ex.create_order(
                symbol, "limit", "sell", lot, low_price(), {"triggerPrice": low_price()})),
            (ccxt.NotSupported, "10033", lambda: ex.create_order(
                symbol, "stop_limit", "sell", lot, low_price(), {"stopLossPrice": low_price()})),
        ]:
            error = refused(kind, call)
            assert f'"code":{code}' in str(error), (code, error)

    def no_funds():
        error = refused(ccxt.InsufficientFunds, lambda: ex.private_get_sell({
            "instrument_name": market["id"], "amount": 900, "price": low_price() + 1000 * tick}))
        assert "10009" in str(error), error

    run.check("create_order limit", create_limit)
    run.check("create_order with a label again", repeat_label)
    run.check("fetch_order", fetch_order)
    run.check("fetch_open_orders", open_orders)
    run.check("edit_order", edit_order)
    run.check("cancel_order", cancel_order)
    run.check("fetch_order of an unknown id", unknown_order)
    run.check("create_order limit post_only", post_only)
    run.check("create_order IOC", immediate)
    run.check("create_order market", market_buy)
    run.check("create_order reduce_only", reduce_only)
    run.check("fetch_my_trades, fetch_order_trades", my_trades)
    run.check("fetch_trades, fetch_trades(since)", public_trades)
    run.check("fetch_ohlcv with trades", candles)
    run.check("fetch_closed_orders", closed_orders)
    run.check("fetch_position, fetch_positions", positions)
    run.check("fetch_balance", balance)
    run.check("fetch_accounts", accounts)
    run.check("cancel_all_orders", cancel_all)
    run.check("bad orders are refused by code", bad_orders)
    run.check("an order without margin is refused", no_funds)


def wallet(run, ex, market):
    def lists():
        assert ex.fetch_my_liquidations(market["symbol"]) == []
        assert isinstance(ex.fetch_deposits("USDC"), list)
        assert ex.fetch_withdrawals("BTC") == []

    run.check("fetch_my_liquidations, fetch_deposits, fetch_withdrawals", lists)
    run.check("fetch_deposit_address is refused",
              lambda: refused(ccxt.NotSupported, lambda: ex.fetch_deposit_address("BTC")))
    run.check("withdraw is refused", lambda: refused(ccxt.NotSupported, lambda: ex.withdraw(
        "BTC", 0.1, "bc1qxy2kgdygjrsqtzq2n0yrf2493p83kkfjhx0wlh")))
    run.check("transfer is refused",
              lambda: refused(ccxt.ExchangeError, lambda: ex.transfer("BTC", 0.1, "1", "2")))


def credentials(run, url, key, secret):
    def wrong_secret():
        other = client(ccxt, url, key, "wrong")
        refused(ccxt.AuthenticationError, other.fetch_balance)

    def unknown_key():
        other = client(ccxt, url, "nobody", secret)
        refused(ccxt.AuthenticationError, other.fetch_balance)

    run.check("a wrong secret is refused", wrong_secret)
    run.check("an unknown key is refused", unknown_key)


async def streams(run, url, key, secret, symbol):
    ws = client(ccxt.pro, url, key, secret)
    rest = client(ccxt.async_support, url, key, secret)
    try:
        await ws.load_markets()
        await rest.load_markets()
        market = ws.market(symbol)
        lot, tick = market["precision"]["amount"], market["precision"]["price"]

        async def price_that_rests():
            book = await rest.fetch_order_book(symbol)
            return max(tick, book["bids"][0][0] - 7 * tick)

        async def buy():
            return await rest.create_order(symbol, "market", "buy", lot)

        async def book():
            for _ in range(2):
                book = await ws.watch_order_book(symbol)
                assert book["bids"] and book["asks"] and book["bids"][0][0] < book["asks"][0][0]
            # An order of ours shows in the stream at its price, and goes again.
            price = await price_that_rests()
            order = await rest.create_order(symbol, "limit", "buy", 7 * lot, price)
            while not any(level[0] == price and level[1] >= 7 * lot for level in book["bids"]):
                book = await ws.watch_order_book(symbol)
            await rest.cancel_order(order["id"], symbol)

        async def book_depth():
            # ccxt does not read this channel's plain levels itself, so the raw message is looked at.
            name = f"book.{market['id']}.none.20.100ms"
            heard = await raw_subscription(url, name)
            assert heard["bids"][0][0] < heard["asks"][0][0] and len(heard["bids"]) <= 20

        async def ticker():
            ticker = await ws.watch_ticker(symbol)
            assert ticker["symbol"] == symbol and ticker["bid"] < ticker["ask"]
            tickers = await ws.watch_tickers([symbol])
            assert symbol in tickers

        async def quotes():
            quotes = await ws.watch_bids_asks([symbol])
            assert quotes[symbol]["bid"] < quotes[symbol]["ask"]

        async def trades():
            trades, orders = await until(ws.watch_trades(symbol), buy)
            own = {trade["id"] for order in orders for trade in order["trades"]}
            assert own & {trade["id"] for trade in trades}, (own, trades)

        async def candles():
            candles, _ = await until(ws.watch_ohlcv(symbol, "1m"), buy)
            assert candles and candles[-1][2] >= candles[-1][3] > 0, candles

        async def orders():
            async def rest_one():
                return await rest.create_order(
                    symbol, "limit", "buy", lot, await price_that_rests())

            seen, placed = await until(ws.watch_orders(), rest_one)
            ids = {order["id"] for order in placed}
            heard = next(o for o in seen if o["id"] in ids)
            assert heard["status"] == "open" and heard["amount"] == lot, heard
            for order in placed:
                await rest.cancel_order(order["id"], symbol)
            while not any(o["id"] == heard["id"] and o["status"] == "canceled" for o in seen):
                seen = await ws.watch_orders()

        async def my_trades():
            trades, orders = await until(ws.watch_my_trades(), buy)
            ids = {order["id"] for order in orders}
            assert any(trade["order"] in ids for trade in trades), trades

        async def balance():
            balance = await ws.watch_balance()
            while "USDC" not in balance or not balance["USDC"].get("USDC", {}).get("total"):
                balance = await ws.watch_balance()

        await run.check_async("watch_order_book", book)
        await run.check_async("watch_order_book depth", book_depth)
        await run.check_async("watch_ticker, watch_tickers", ticker)
        await run.check_async("watch_bids_asks", quotes)
        await run.check_async("watch_trades", trades)
        await run.check_async("watch_ohlcv", candles)
        await run.check_async("watch_orders", orders)
        await run.check_async("watch_my_trades", my_trades)
        await run.check_async("watch_balance", balance)
    finally:
        await ws.close()
        await rest.close()


async def raw_subscription(url, channel):
    """The data of a channel's first notification."""
    address = url.replace("http", "ws", 1) + "/ws/api/v2"
    async with aiohttp.ClientSession() as session, session.ws_connect(address) as socket:
        await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "public/subscribe",
                                "params": {"channels": [channel]}})
        answer = await socket.receive_json()
        assert answer["result"] == [channel], answer
        heard = await socket.receive_json()
        assert heard["params"]["channel"] == channel, heard
        return heard["params"]["data"]


async def until(watching, act):
    """Acts until what is watched for has come; returns it and what the last act gave. The first
    act may come before the subscription, which only then hears of the next."""
    watching = asyncio.ensure_future(watching)
    acts = []
    while not watching.done():
        acts.append(await act())
        await asyncio.wait({watching}, timeout=1)
    return watching.result(), acts


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    url, key, secret = sys.argv[1].rstrip("/"), sys.argv[2], sys.argv[3]
    run = Run()
    ex = client(ccxt, url, key, secret)
    ex.load_markets()
    market = quoted_call(ex)
    print(f"trading {market['id']} as {market['symbol']}, ccxt {ccxt.__version__}")
    market_data(run, ex, market)
    trading(run, ex, market)
    wallet(run, ex, market)
    credentials(run, url, key, secret)
    asyncio.run(streams(run, url, key, secret, market["symbol"]))
    print(f"{run.passed} passed, {run.failed} failed")
    sys.exit(1 if run.failed else 0)


if __name__ == "__main__":
    main()
