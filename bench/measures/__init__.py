"""The measurements, one small file each; see bench/lab/measure.py."""

ORDER = (
    "ping",
    "tcp",
    "udp",
    "latency",
    "cost",
    "saturation",
    "throughput",
    "loss",
    "back-to-back",
    "recovery",
    "idle",
    "address-capacity",
    "learning-rate",
    "head-of-line",
    "broadcast",
    "mesh",
    "errored-frames",
    "scaling",
    "sizes",
    "shapes",
)
