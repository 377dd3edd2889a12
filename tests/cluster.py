"""A real SLURM of one node on this machine: munged, slurmctld and slurmd from Debian's packages, on loopback.

python -m tests.cluster FOLDER     starts one, and waits until it is interrupted
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")
CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=2
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0,nohold_on_prolog_fail
InactiveLimit=0
KillWait=2
MinJobAge=60
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=30
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=2000 State=UNKNOWN
PartitionName=test Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


class Cluster:
    """A running SLURM; `environment` is what its commands need."""

    def __init__(self, folder):
        self.folder, self.daemons = Path(folder), []
        self.environment = {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def start(self):
        """Start the daemons; a text that tells why where that cannot be."""
        missing = [name for name in NEEDED if not _which(name)]
        if missing:
            return f"no {', '.join(missing)}: apt-get install slurmctld slurmd slurm-client munge"
        if os.getuid():
            return "SLURM's daemons need root"
        for name in ("munge", "state", "spool"):
            (self.folder / name).mkdir(parents=True, mode=0o755)
        key = self.folder / "munge" / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        host = socket.gethostname().split(".")[0]
        ports = [_free_port() for _ in range(2)]
        text = CONFIG.format(host=host, folder=self.folder, port=ports[0], node_port=ports[1])
        (self.folder / "slurm.conf").write_text(text)
        munge = [f"--{k}={self.folder}/munge/{v}" for k, v in (
            ("socket", "socket"), ("key-file", "key"), ("log-file", "log"), ("pid-file", "pid"), ("seed-file", "seed"),
        )]  # fmt: skip
        self._daemon("munged", "--foreground", "--force", *munge)
        self._until(lambda: (self.folder / "munge" / "socket").exists())
        self._daemon("slurmctld", "-D", "-c", "-f", str(self.folder / "slurm.conf"))
        self._daemon("slurmd", "-D", "-N", host, "-f", str(self.folder / "slurm.conf"))
        if not self._until(lambda: "idle" in self.call("sinfo", "--noheader", "--format", "%t")):
            logs = [f"{p.name}: {p.read_text()[-300:]}" for p in self.folder.glob("*.log")]
            return "SLURM does not start here: " + " ".join(logs)
        return None

    def call(self, *words):
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=30)
        return done.stdout + done.stderr

    def stop(self):
        self.call("scancel", "--user", "root")
        for daemon in reversed(self.daemons):
            daemon.terminate()
        for daemon in self.daemons:
            try:
                daemon.wait(5)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def _daemon(self, name, *words):
        with (self.folder / f"{name}.out").open("w") as log:
            daemon = subprocess.Popen(
                [_which(name), *words], env=self.environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        self.daemons.append(daemon)

    def _until(self, true, seconds=20):
        end = time.time() + seconds
        while time.time() < end and all(daemon.poll() is None for daemon in self.daemons):
            if true():
                return True
            time.sleep(0.2)
        return False


def _which(name):
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def _free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


if __name__ == "__main__":
    cluster = Cluster(sys.argv[1])
    print(cluster.start() or f"export SLURM_CONF={cluster.environment['SLURM_CONF']}", flush=True)
    try:
        time.sleep(10**6)
    finally:
        cluster.stop()
