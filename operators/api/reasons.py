"""Every condition type and every reason, once: they are an interface that alerts and tests rely on."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["ConditionType", "Reason"]


class ConditionType(StrEnum):
    READY = "Ready"
    MODEL_READY = "ModelReady"
    FEATURES_READY = "FeaturesReady"
    HALTED = "Halted"
    DEGRADED = "Degraded"


class Reason(StrEnum):
    """The constant words in `reason`, grouped by what they speak of."""

    # good news
    AS_EXPECTED = "AsExpected"
    DECIDING = "Deciding"
    TAPE_ENDED = "TapeEnded"
    SERVING = "Serving"
    STORE_READ = "StoreRead"
    # on the way
    STARTING = "Starting"
    NOT_OBSERVED = "NotObserved"
    CLEANING_UP = "CleaningUp"
    VOLUME_PENDING = "VolumePending"
    SUSPENDED = "Suspended"
    # the kill switch
    NOT_ENGAGED = "NotEngaged"
    KILL_SWITCH_ENGAGED = "KillSwitchEngaged"
    RELEASE_NOT_NAMED = "ReleaseNotNamed"
    SPEC_UNSEEN = "SpecUnseen"
    RELEASED = "Released"
    BOT_HALTED = "BotHalted"
    # what a person must mend
    INVALID_SPEC = "InvalidSpec"
    LIVE_NOT_SUPPORTED = "LiveNotSupported"
    CLAIM_NOT_FOUND = "ClaimNotFound"
    CLAIM_LOST = "ClaimLost"
    BUNDLE_REFUSED = "BundleRefused"
    REVISION_MISMATCH = "RevisionMismatch"
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 - the word, not the thing
    IMAGE_NOT_PULLED = "ImageNotPulled"
    POD_CONFIG_ERROR = "PodConfigError"
    CRASH_LOOP = "CrashLoop"
    UNSCHEDULABLE = "Unschedulable"
    CHILD_CONFLICT = "ChildConflict"
    APPLY_FAILED = "ApplyFailed"
