"""`cryptoai bot --cluster`: the bot as the main process of its pod, everything that it needs waited for, not assumed.

It imports the packaged tape into its own lake, takes states through Feast on Redis, decides with the inference service,
journals to its volume, and obeys the kill switch of its own TradingBot through its own watch, operator running or not.

How it fails: what is not there yet keeps it unready and is asked for again. No state or no answer means the safe
action. The API server silent for `ALERT_S` is logged and makes it unready; silent for `LOST_S` while it trades, the bot
engages its own kill switch (by "watchdog"), because nobody could stop it any more; like every latch, that one is
released by a person only. A TradingBot that is deleted ends the process. The latch lies on the volume and survives
restarts; the journal of an earlier run is set aside and the replay begins again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from cryptoai.cli.pod import PodStatus, serve_status
from cryptoai.core.clock import SystemClock
from cryptoai.core.config import Config, build, merge
from cryptoai.core.errors import ConfigError, ModelUnavailableError, PermanentError, TransientError
from cryptoai.core.ids import content_hash
from cryptoai.core.logging import configure_logging
from cryptoai.core.messages import AccountView, Conditions, Inference, Quote
from cryptoai.core.state import StateVector
from cryptoai.risk_engine.kill_switch import KillAction, KillState, KillSwitch

if TYPE_CHECKING:
    from cryptoai.cli.bot import Bell, Bot, Stopping
    from cryptoai.data_universe.adapters.feast_store import FeastStore
    from cryptoai.execution.adapters.kube_watch import ApiServer, KillObeyer, KubeWatch
    from cryptoai.execution.kernel import Kernel
    from cryptoai.execution.ports import Market, Model

__all__ = [
    "ALERT_S",
    "LOST_S",
    "SAMPLES_DONE",
    "PodSettings",
    "SharedKillSwitch",
    "placed_in",
    "prepare_process",
    "run_in_pod",
]

ALERT_S = 10.0
"""Silence of the API server in seconds past which the bot is unready and says so."""
LOST_S = 60.0
"""Silence in seconds past which a trading bot engages its own kill switch."""

SAMPLES_DONE = ".samples"
"""Lies in a lake that holds the packaged tapes whole."""

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.25, 5.0
_IDLE_S = 0.5
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class PodSettings:
    """What the pod's environment says."""

    bot: str
    namespace: str
    redis: str
    server: Callable[[], ApiServer]
    port: int = 8082
    password: str | None = field(default=None, repr=False)
    pin: str | None = None

    @classmethod
    def read(cls, env: Mapping[str, str]) -> PodSettings:
        """CRYPTOAI_BOT, POD_NAMESPACE and CRYPTOAI_REDIS, and a service account or KUBECONFIG, are needed.

        CRYPTOAI_REDIS_PASSWORD, CRYPTOAI_MODEL_REVISION (the only bundle that may decide) and CRYPTOAI_STATUS_PORT
        may be set.
        """
        missing = [name for name in ("CRYPTOAI_BOT", "POD_NAMESPACE", "CRYPTOAI_REDIS") if not env.get(name)]
        if missing:
            raise ConfigError(f"{', '.join(missing)} must be set in the pod; the operator sets them for its bots")
        port = env.get("CRYPTOAI_STATUS_PORT", "8082")
        if not port.isdigit():
            raise ConfigError(f"CRYPTOAI_STATUS_PORT={port!r}: give a port number")
        name, namespace, redis = env["CRYPTOAI_BOT"], env["POD_NAMESPACE"], env["CRYPTOAI_REDIS"]
        secret, pin = env.get("CRYPTOAI_REDIS_PASSWORD") or None, env.get("CRYPTOAI_MODEL_REVISION") or None
        return cls(name, namespace, redis, lambda: _api_server(env), int(port), secret, pin)

    @property
    def project(self) -> str:
        """The bot's own Feast project, so that bots that share a Redis never read each other's states."""
        return f"bot_{content_hash(f'{self.namespace}/{self.bot}'.encode(), 16)}"


class SharedKillSwitch(KillSwitch):
    """The latch of the main thread, which the watching thread sets too: one change at a time."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        super().__init__(path)

    def refresh(self) -> KillState:
        with self._lock:
            return super().refresh()

    def engage(self, reason: str, by: str, time: int, action: KillAction = KillAction.FLATTEN) -> KillState:
        with self._lock:
            return super().engage(reason, by, time, action)

    def release(self, reason: str, by: str, time: int) -> KillState:
        with self._lock:
            return super().release(reason, by, time)


def prepare_process(folder: Path) -> None:
    """Before anything heavy is imported: compiled code is kept on the volume, logs are lines of JSON on stderr."""
    os.environ["NUMBA_CACHE_DIR"] = str(folder / ".numba")
    configure_logging(level="info")


def placed_in(config: Config, folder: Path) -> Config:
    """The same configuration with its lake and feature data below `folder`."""
    folders = {"data": {"lake": str(folder / "lake")}, "features": {"data": str(folder / "features")}}
    return build(merge(config.model_dump(), folders))


def run_in_pod(
    config: Config,
    assets: Sequence[str],
    model: str | None,
    folder: Path,
    *,
    speed: float,
    env: Mapping[str, str] | None = None,
) -> int:
    """Until it is told to end (0); ConfigError if the pod is not what the bot needs."""
    from cryptoai.cli.bot import Bell, Stopping, require_mode
    from cryptoai.cli.children import Interrupted

    pod = PodSettings.read(os.environ if env is None else env)
    status = PodStatus(bot=pod.bot, mode=require_mode(config, speed))
    bell = Bell()
    stopping = Stopping(bell)
    stopping.listen()
    server = serve_status(status, pod.port)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _Pod(placed_in(config, folder), pod, folder, status, bell, stopping).run(assets, model, speed)
    except Interrupted as stop:
        structlog.get_logger().info("bot_stopped", bot=pod.bot, why=str(stop), decisions=status.decisions)
    finally:
        server.shutdown()
        server.server_close()
    return 0


@dataclass
class _Pod:
    """One life of the process."""

    config: Config
    pod: PodSettings
    folder: Path
    status: PodStatus
    bell: Bell
    stopping: Stopping
    _there: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        from cryptoai.execution.adapters.kube_watch import KillObeyer, KubeWatch

        self.log = structlog.get_logger().bind(bot=self.pod.bot)
        self.switch = SharedKillSwitch(self.folder / "kill_switch.json")
        memory, clock = self.folder / "kill_order.json", SystemClock()
        self.obeyer: KillObeyer = KillObeyer(self.switch, memory, clock, self._acted)
        self.watch: KubeWatch = KubeWatch(self.pod.server(), self.pod.namespace, self.pod.bot, self._seen)

    def run(self, assets: Sequence[str], model: str | None, speed: float) -> None:
        """Waits for everything, replays the tape, then stays; ends by Interrupted."""
        self._show_switch()
        self.watch.start()
        bot = self._prepared(assets, model)
        self._store = bot.store
        self.log.info("bot_runs", mode=self.status.mode, revision=bot.revision, killed=self.switch.engaged)
        bot.run(speed, self.bell, self.stopping, through=self._through, on_step=self._on_step, idle=self._on_idle)
        self.status.ended, self.status.problems = True, {}
        self.log.info("tape_ended", decisions=self.status.decisions)
        while self.stopping.asked is None:
            self.bell.wait(_IDLE_S)
            self._on_idle(trading=False)
        raise self.stopping.asked

    # ------------------------------------------------------------------ before the first step

    def _prepared(self, assets: Sequence[str], model: str | None) -> Bot:
        from cryptoai.cli.bot import Bot
        from cryptoai.cli.tapes import load_feeds

        self._wait_for(f"TradingBot {self.pod.namespace}/{self.pod.bot}", self._require_order)
        _import_samples(Path(self.config.data.lake))
        self.status.beat()
        feeds = load_feeds(self.config, assets)
        store = self._wait_for(f"Redis at {self.pod.redis}", self._open_store)
        opened, self.status.revision = self._wait_for("the inference service", lambda: self._open_model(model))
        self.status.waiting = ""
        guarded = _LastLook(opened, self.switch, self.status)
        return Bot(*(self.config, self.pod.bot, feeds, guarded, self.status.revision, store, self.folder, self.switch))

    def _wait_for(self, what: str, attempt: Callable[[], Found]) -> Found:
        """Tries until it works; says what it waits for once a reason."""
        wait, said = _FIRST_WAIT_S, set[str]()
        while True:
            self.status.beat()
            try:
                return attempt()
            except TransientError as error:
                self.status.waiting = f"{what} ({error})"
                if str(error) not in said:
                    self.log.warning("waiting", what=what, why=str(error))
                said.add(str(error))
            self.bell.wait(wait)
            if self.stopping.asked is not None:
                raise self.stopping.asked
            wait = min(2 * wait, _LONGEST_WAIT_S)

    def _require_order(self) -> None:
        """No step before it is known whether the bot may trade at all."""
        if not self.watch.synced or not self._there.is_set():
            raise TransientError(self.watch.problem or "there is no such TradingBot")

    def _open_store(self) -> FeastStore:
        from cryptoai.cli.features import open_store

        store = open_store(self.config, self.pod.redis, password=self.pod.password, project=self.pod.project)
        store.check()
        store.apply()
        return store

    def _open_model(self, spec: str | None) -> tuple[Model, str]:
        from cryptoai.cli.models import open_model

        model, revision = open_model(spec, self.config)
        if self.pod.pin not in (None, revision):
            raise TransientError(f"it serves revision {revision}, spec.model.revision asks for {self.pod.pin}")
        return model, revision

    # ------------------------------------------------------------------ while it runs

    def _through(self, market: Market) -> Market:
        return _Noted(market, self.status)

    def _on_step(self, now: int, kernel: Kernel) -> None:
        self.status.decisions, self.status.time = kernel.decisions, now
        self.status.feed_ages = self._store.feed_ages
        self._on_idle()

    def _on_idle(self, *, trading: bool = True) -> None:
        self.status.beat()
        self._show_switch()
        silence = self.watch.silence_s()
        quiet = f"no word for more than {ALERT_S:.0f} s ({self.watch.problem})" if silence > ALERT_S else ""
        if self.status.problem("API server", quiet) and quiet:
            self.log.error("api_server_silent", why=quiet)
        if trading and silence > LOST_S:
            self.obeyer.lost(f"the API server gave no word for {LOST_S:.0f} s; this bot could not be stopped")

    # ------------------------------------------------------------------ from the watching thread

    def _seen(self, thing: Mapping[str, Any] | None) -> None:
        if thing is not None:
            self.obeyer.obey(thing)
            self._there.set()
        elif self._there.is_set():
            self._there.clear()
            self.stopping.ask(f"TradingBot {self.pod.namespace}/{self.pod.bot} is gone")

    def _acted(self) -> None:
        """The main thread may be waiting for the recorded pace; its next step obeys."""
        self._show_switch()
        self.bell.ring()

    def _show_switch(self) -> None:
        state = self.switch.refresh()
        self.status.killed = state.engaged
        self.status.kill_reason, self.status.kill_by = (state.reason, state.by) if state.engaged else ("", "")


class _LastLook:
    """A `Model` that looks at the kill switch once more after it answered: what was thought meanwhile is not sent."""

    def __init__(self, model: Model, switch: KillSwitch, status: PodStatus) -> None:
        self._model, self._switch, self._status = model, switch, status

    def decide(self, history: Sequence[StateVector]) -> Inference:
        try:
            answer = self._model.decide(history)
        except (TransientError, PermanentError) as error:
            self._status.problem("model", str(error))
            raise
        self._status.problem("model", "")
        if self._switch.refresh().engaged:
            raise ModelUnavailableError("the kill switch was engaged while the model thought")
        return answer


class _Noted:
    """A `Market` whose failures to give a state show in the status."""

    def __init__(self, market: Market, status: PodStatus) -> None:
        self._market, self._status = market, status

    def advance(self, now_ns: int) -> None:
        self._market.advance(now_ns)

    def quote(self, instrument: str) -> Quote | None:
        return self._market.quote(instrument)

    def state(self, instrument: str, now_ns: int, account: AccountView) -> StateVector:
        try:
            state = self._market.state(instrument, now_ns, account)
        except (TransientError, PermanentError) as error:
            self._status.problem("features", str(error))
            raise
        self._status.problem("features", "")
        return state

    def conditions(self, state: StateVector) -> Conditions | None:
        return self._market.conditions(state)


def _import_samples(lake: Path) -> None:
    """The packaged tapes into the bot's own lake, once a volume; an import that was cut short is completed."""
    from cryptoai.cli.data import SAMPLES, import_tape, sample_path

    done = lake / SAMPLES_DONE
    if done.exists():
        return
    for name in SAMPLES:
        import_tape(sample_path(name), name, lake)
    done.touch()


def _api_server(env: Mapping[str, str]) -> ApiServer:
    from cryptoai.execution.adapters.kube_watch import in_cluster, kubeconfig

    if env.get("KUBECONFIG"):
        return kubeconfig(Path(env["KUBECONFIG"]))
    if not env.get("KUBERNETES_SERVICE_HOST"):
        raise ConfigError("--cluster needs a pod (KUBERNETES_SERVICE_HOST) or KUBECONFIG")
    return in_cluster(env["KUBERNETES_SERVICE_HOST"], env.get("KUBERNETES_SERVICE_PORT", "443"), _SERVICE_ACCOUNT)
