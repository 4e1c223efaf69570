"""Environments whose optimum is known in closed form, as many lives at once; what PPO and SAC are proved in."""

from cryptoai.testing.envs.almgren_chriss import AlmgrenChriss
from cryptoai.testing.envs.garleanu_pedersen import GarleanuPedersen
from cryptoai.testing.envs.learning import PPOPlan, SACPlan, learn_ppo, learn_sac
from cryptoai.testing.envs.lives import Lives, Moment
from cryptoai.testing.envs.merton import Merton

__all__ = [
    "AlmgrenChriss",
    "GarleanuPedersen",
    "Lives",
    "Merton",
    "Moment",
    "PPOPlan",
    "SACPlan",
    "learn_ppo",
    "learn_sac",
]
