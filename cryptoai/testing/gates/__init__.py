"""What each learned part must prove, on markets whose truth is known, beside the baselines that are hard to beat."""

from cryptoai.testing.gates.gate import PARTS, Check, Gate, checks

__all__ = ["PARTS", "Check", "Gate", "checks"]
