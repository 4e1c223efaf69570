"""Words that experts would look for: cues of each class, tones, hedges; the classifier weighs the cues.

A cue is the beginning of a word, or of words in a row. Written from knowledge of the field, not from held-out texts.
Sentiment is a count of these tones with negation, in the way of Loughran & McDonald 2011 (When is a liability not a
liability?), with words of this market. Pure.
"""

# ruff: noqa: E501  -- the words of a class are one line, as in a table
from __future__ import annotations

import re
from types import MappingProxyType

__all__ = ["HEDGES", "NEGATIONS", "cues", "tone"]

_CUES = {
    "listing": "list|lists|listed|listing|will list|debut|now available|start trading|starts trading|begins trading|trading begins|opens trading|open for trading|goes live on|new pair|trading pair|adds support|add support|now supports|introduc|launchpool|pre-market|roll out|rolls out|tradable|can now buy|can now trade|roadmap|relist|perpetual market|new market|new asset",
    "delisting": "delist|remov|cease trading|end support|ends support|ending support|end trading|ends trading|drop|drops|dropped|terminat|discontinu|suspend trading in|no longer|withdraw support|monitoring tag|seed tag|wind down pair|cautionary|taken off|halts trading of|stop supporting|withdraw their|kick|goodbye|farewell|phase out|last day of trading|removal",
    "hack": "hack|exploit|drain|stolen|steal|theft|thief|attack|breach|compromis|malicious|phish|scam|rug|siphon|vulnerab|loot|launder|malware|flash loan|reentran|private key|hijack|robbed|heist|white hat|white-hat|bounty|intruder|drainer|spoof|loses|lost",
    "regulation": "bill|law|laws|legis|regulat|rule|rules|framework|licen|tax|parliament|senate|lawmaker|minister|central bank digital|consult|guidance|ban|bans|banned|mica|act|policy|congress|house of|authoris|committee|proposal to|standards|treasury propos|monetary authority|governor sign|compliance deadline",
    "enforcement": "sue|sues|sued|lawsuit|charg|fine|fined|fines|penalt|settle with|settles with|settlement with|indict|arrest|guilty|sentenc|court|judge|jury|prosecut|convict|probe|investigat|sanction|complaint|plead|wells notice|extradit|seiz|fraud|prison|subpoena|doj|justice department|police|jail|forfeit|trial|appeal|class action|detain",
    "unlock": "unlock|vest|cliff|lockup|lock-up|locked|escrow|tranche|circulating supply|token release|releases|emission|early backers|insiders|free up|become liquid|becomes liquid|become transferable|become tradable|enter circulation|float",
    "venue_incident": "outage|down|offline|glitch|degraded|unable to log|login|log in|latency|disrupt|incident|crashed|freez|froz|error|investigating|delays|delayed|connectivity|matching engine|halts spot|halts trading|stuck|not loading|unavailable|restored|server|resum|app|status|users report|failure|malfunction",
    "network_incident": "block production|producing blocks|no blocks|stall|finality|finalis|sequencer|reorg|reorgani|consensus|chain halt|network halt|halted|validators|nodes|chain split|congest|mempool|fork choice|attestation|client bug|mainnet down|network down|rollup|stops|batches|stale|ledger|restart",
    "maintenance": "maintenance|scheduled|planned|upgrade of|system upgrade|temporarily suspend|deposits and withdrawals|paus|downtime|tick size|lot size|minimum order|price precision|leverage and margin tiers|funding rate interval|margin tiers|adjust|change log|will update|notice|migration|window|support the|update to|completed|wallet upgrade|rebrand",
    "upgrade": "hard fork|soft fork|fork|upgrade|mainnet|testnet|halving|activat|release|version|client|developers|devs|eip|proposal|protocol|goes live|deploy|launches on|epoch|block reward|roadmap|migrat|gas limit|validator client|v1|v2|v3|v4|core devs|staking withdraw",
    "macro": "fed|fomc|inflation|cpi|ppi|pce|payroll|jobs|jobless|unemployment|rate cut|rate hike|rates|interest rate|powell|ecb|boj|bank of japan|bank of england|treasury yield|yields|gdp|recession|tariff|dollar|stocks|nasdaq|oil|war|election|debt ceiling|shutdown|economy|economist|consumer|central bank|yen|gold|downgrade|s&p",
    "expiry": "expir|max pain|options|settle|delivery|quarterly|strike|put-call|open interest|roll|rolls off|notional|gamma|front-month|contract month|calls|puts|out of the money|in the money|deribit",
    "adoption": "accept|adopt|partner|buys|purchas|acquires|treasury reserve|balance sheet|payment|pay with|integrat|merchant|bank|launches its own|tokenis|customers|raises|round|series|invest|settlement on|pilot|company|firm|retailer|custody|legal tender|reserve|holdings|stake",
    "fund": "etf|etp|etfs|exchange-traded|fund|funds|inflow|outflow|s-1|19b-4|trust|issuer|grayscale|blackrock|ibit|gbtc|spot bitcoin|filing|files for|ark|vaneck|fidelity|bitwise|approval odds|in-kind|aum|creation",
    "market_move": "surge|soar|jump|slide|slides|plunge|tumble|rally|rallies|falls|fell|drops|gain|rise|rises|all-time high|record high|liquidat|whale|moves|transfer|longs|shorts|squeeze|dip|rebound|price|volume|dominance|market cap|breaks|resistance|support level|sell-off|below|above|tops|low|high|funding|premium|trades at|volatility|dormant|wallet",
    "depeg": "depeg|peg|parity|stablecoin|discount|one dollar|below a dollar|cents|collateral|redemption|off peg|loses its|premium|algorithmic|staked|wrapped|under a dollar|one-to-one|synthetic dollar|0.9|drift",
    "insolvency": "bankrupt|chapter 11|insolv|creditor|liquidator|liquidation of|halts withdrawals|pauses withdrawals|freezes withdrawals|withdrawals frozen|suspend withdrawals|stops withdrawals|restructur|repay|claims|estate|trustee|receiver|shortfall|hole|owes|debts|lender|default|wind down|collapse|administration|distribut|payout",
    "other": "opinion|interview|podcast|guide|explained|what is|how to|why|survey|study|essay|book|conference|meetup|quiz|earn|competition|campaign|newsletter|recap|research|predict|names new|hires|appoint|steps down|layoff|office|sponsor|art|artist|film|learn|grants|hackathon|proof of reserves|mints|prints|ama|photos|episode|week in review",
}  # fmt: skip

_POSITIVE = "approv|gain|surge|soar|rally|rallies|record|adopt|partner|launch|list|upgrade|recover|rebound|inflow|bull|win|wins|support|growth|success|buy|buys|accumulat|breakthrough|legalis|clear|restored|resolved|rescue|refund|returns|raise|beat|cool|ease|cut rates|rate cut|high|restored|dismiss|drops lawsuit|upside|accept"  # fmt: skip
_NEGATIVE = "hack|exploit|stolen|steal|drain|loss|loses|lost|fraud|sue|sues|sued|charge|fine|fined|ban|bans|bankrupt|insolv|crash|plunge|tumble|slide|fall|falls|fell|drop|drops|depeg|halt|outage|down|delist|remov|suspend|freez|froz|delay|reject|outflow|bear|selloff|sell-off|liquidat|attack|breach|compromis|scam|arrest|guilty|prison|indict|sanction|probe|default|collapse|warn|risk|fear|weak|worst|unlock|downgrade|recession|war|tariff|hot inflation|raises rates|rate hike|denied|stall|malicious|phish|vulnerab|lawsuit|low|discount"  # fmt: skip
NEGATIONS = frozenset(
    [
        "no",
        "not",
        "never",
        "without",
        "denies",
        "deny",
        "denied",
        "dismisses",
        "avoids",
        "fails",
        "unlikely",
        "isn't",
        "aren't",
        "won't",
        "don't",
    ]
)
HEDGES = frozenset(
    [
        "may",
        "might",
        "could",
        "reportedly",
        "rumour",
        "rumor",
        "alleged",
        "allegedly",
        "possible",
        "unconfirmed",
        "considering",
        "plans",
    ]
)


def _pattern(stems: str) -> re.Pattern[str]:
    """Whole words for cues of up to three letters, beginnings of words for longer ones."""
    parts = [
        re.escape(stem) + (r"\b" if len(stem) <= 3 else "") for stem in sorted(stems.split("|"), key=len, reverse=True)
    ]
    return re.compile(r"\b(?:" + "|".join(parts) + ")")


_GOOD, _BAD = _pattern(_POSITIVE), _pattern(_NEGATIVE)
_PATTERNS = MappingProxyType({name: _pattern(stems) for name, stems in _CUES.items()})


def cues(text: str) -> list[str]:
    """`name` once for each different cue of a class that the lower-case text has, and the cue itself."""
    found = []
    for name, pattern in _PATTERNS.items():
        hits = set(pattern.findall(text))
        found += [name] * len(hits) + [f"{name} {hit}" for hit in hits]
    return found


def tone(word: str) -> int:
    """+1 for a word of good news, -1 for one of bad, 0 for others; lower case."""
    return int(bool(_GOOD.match(word))) - int(bool(_BAD.match(word)))
