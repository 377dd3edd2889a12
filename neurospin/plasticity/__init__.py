"""What a synapse remembers: one rule per file, each usable on any torch model."""

from neurospin.plasticity.bayesbinn import BayesBiNN as BayesBiNN
from neurospin.plasticity.bennafusi import BennaFusi as BennaFusi
from neurospin.plasticity.bgd import BGD as BGD
from neurospin.plasticity.bimu import BiMU as BiMU
from neurospin.plasticity.device_aware import DeviceAware as DeviceAware
from neurospin.plasticity.evidence import Evidence as Evidence
from neurospin.plasticity.ewc import EWC as EWC
from neurospin.plasticity.kalman import Kalman as Kalman
from neurospin.plasticity.levels import LevelLimited as LevelLimited
from neurospin.plasticity.levels import Levels as Levels
from neurospin.plasticity.mas import MAS as MAS
from neurospin.plasticity.mesu import MESU as MESU
from neurospin.plasticity.metaplastic import Metaplastic as Metaplastic
from neurospin.plasticity.naive import Naive as Naive
from neurospin.plasticity.probabilistic import ProbabilisticMetaplasticity as ProbabilisticMetaplasticity
from neurospin.plasticity.registry import RULES as RULES
from neurospin.plasticity.registry import make as make
from neurospin.plasticity.replay import Joint as Joint
from neurospin.plasticity.replay import Replay as Replay
from neurospin.plasticity.replay import Reservoir as Reservoir
from neurospin.plasticity.rule import Rule as Rule
from neurospin.plasticity.si import SI as SI
from neurospin.plasticity.storage import OnDevice as OnDevice
from neurospin.plasticity.storage import Storage as Storage
from neurospin.plasticity.storage import Through as Through
