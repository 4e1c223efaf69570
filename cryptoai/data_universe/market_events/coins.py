"""Which coins and venues a text is about: names, tickers and trading pairs, with care for tickers that are also words.

The classifier hides what is found here (a class must not depend on whom it happened to), the scorer files a text under
it. Never guesses: a coin that is not in the table is not tagged.
"""

from __future__ import annotations

import re
from types import MappingProxyType

__all__ = ["COINS", "VENUES", "hide_names", "tag_assets"]

_NAMES = """
BTC bitcoin|xbt
ETH ethereum|ether
USDT tether
USDC usd coin
BNB bnb chain|binance coin
XRP ripple|xrp ledger
SOL solana
ADA cardano
DOGE dogecoin
TRX tron
TON toncoin
AVAX avalanche
DOT polkadot
LINK chainlink
POL polygon
MATIC matic
LTC litecoin
BCH bitcoin cash
SHIB shiba inu|shiba
UNI uniswap
ATOM cosmos hub|cosmos
XLM stellar lumens
XMR monero
ETC ethereum classic
FIL filecoin
APT aptos
ARB arbitrum
OP optimism
NEAR near protocol
ICP internet computer
HBAR hedera
VET vechain
INJ injective
SUI sui network
SEI sei network
TIA celestia
STX stacks
AAVE aave
MKR maker|makerdao
LDO lido
CRV curve finance
PEPE pepe coin
WIF dogwifhat
FLOKI floki
BONK bonk
ALGO algorand
FTM fantom
SAND the sandbox
AXS axie infinity
EOS eos
ZEC zcash
DASH dash coin
STRK starknet
JUP jupiter exchange
PYTH pyth
W wormhole
ENA ethena
ONDO ondo
RENDER render network
WLD worldcoin
IMX immutable
DYDX dydx
HYPE hyperliquid
KAS kaspa
LUNA terra luna
UST terrausd
FTT ftx token
DAI dai
USDE usde
FDUSD fdusd
TUSD tusd
BUSD busd
"""
COINS = MappingProxyType(
    {line.split(" ", 1)[0]: line.split(" ", 1)[1].split("|") for line in _NAMES.split("\n") if line}
)
"""Ticker -> names in lower case."""

VENUES = [
    "binance",
    "bybit",
    "okx",
    "coinbase",
    "kraken",
    "kucoin",
    "bitfinex",
    "bitstamp",
    "upbit",
    "bithumb",
    "huobi",
    "htx",
    "gemini",
    "bitget",
    "mexc",
    "gate.io",
    "deribit",
    "bitmex",
    "cme",
    "robinhood",
    "poloniex",
    "bittrex",
    "wazirx",
    "revolut",
    "etoro",
    "crypto.com",
    "hyperliquid",
    "korbit",
    "coincheck",
    "bitflyer",
    "zoomex",
    "coinex",
    "nobitex",
    "coindcx",
]

_WORDS = frozenset(
    [
        "LINK",
        "DOT",
        "UNI",
        "ATOM",
        "OP",
        "NEAR",
        "SAND",
        "W",
        "TON",
        "DASH",
        "EOS",
        "RENDER",
        "HYPE",
        "ONDO",
        "SOL",
        "ADA",
        "DAI",
        "UST",
        "MAKER",
        "LUNA",
    ]
)
"""Tickers that are words or appear as parts of shouting; they count alone only behind `$` or in a pair."""
_QUOTES = "USDT|USDC|FDUSD|TUSD|BUSD|USD|EUR|KRW|TRY|BTC|ETH|BNB"
_PAIR = re.compile(rf"(?<![A-Za-z0-9])(?:1000+)?([A-Z0-9]{{1,10}}?)[/\-_]?(?:{_QUOTES})(?:[-_]?PERP)?(?![A-Za-z0-9])")
_CASHTAG = re.compile(r"[$#]([A-Za-z][A-Za-z0-9]{0,9})\b")
_TICKER = re.compile(r"(?<![A-Za-z0-9$#/])([A-Z][A-Z0-9]{1,9})(?![A-Za-z0-9])")
_NAME = re.compile(
    r"\b("
    + "|".join(re.escape(n) for n in sorted((n for ns in COINS.values() for n in ns), key=len, reverse=True))
    + r")\b",
    re.IGNORECASE,
)
_OF_NAME = MappingProxyType({name: ticker for ticker, names in COINS.items() for name in names})
_VENUE = re.compile(r"\b(" + "|".join(re.escape(name) for name in VENUES) + r")\b", re.IGNORECASE)


def tag_assets(text: str) -> tuple[str, ...]:
    """Tickers of the coins that the text names, sorted; empty for a text about the market or about nothing known."""
    found = {_OF_NAME[name.lower()] for name in _NAME.findall(text)}
    found |= {tag.upper() for tag in _CASHTAG.findall(text) if tag.upper() in COINS}
    found |= {base for base in _PAIR.findall(text) if base in COINS}
    shouting = text.upper() == text
    found |= {word for word in _TICKER.findall(text) if word in COINS and (word not in _WORDS or _sure(word, shouting))}
    return tuple(sorted(found))


def _sure(word: str, shouting: bool) -> bool:
    """Whether a ticker that is a word is meant as one: in mixed case, and not one of the everyday words."""
    return not shouting and word not in {"W", "MAKER"}


def hide_names(text: str) -> str:
    """The text with coins and venues replaced by `coinx` and `venuex`."""
    text = _PAIR.sub(lambda m: " coinx pairx " if m.group(1) else m.group(0), text)
    text = _CASHTAG.sub(" coinx ", text)
    text = _NAME.sub(" coinx ", text)
    text = _VENUE.sub(" venuex ", text)
    return _TICKER.sub(lambda m: " coinx " if m.group(1) in COINS else m.group(0), text)
