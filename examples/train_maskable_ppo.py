"""A third-party agent, MaskablePPO of SB3-contrib, learns the allocation game as it is.

Needs sb3_contrib.
"""

import gymnasium

try:
    from sb3_contrib import MaskablePPO
except ImportError:
    raise SystemExit("this example needs SB3-contrib: pip install sb3-contrib") from None

import ullage.rl_agent.env.game  # noqa: F401 - registers the game
from ullage.hwmodels.cost import score

game = gymnasium.make(
    "ullage/MallocGame-v0",
    model="squeezenet",
    target="edge-npu",
    fast_memory="256KiB",
    dtype="int8",
)
agent = MaskablePPO("MultiInputPolicy", game, n_steps=256, batch_size=64, seed=0)
agent.learn(total_timesteps=2048)

observation, info = game.reset(seed=0)
over, truncated, total = False, False, 0.0
while not (over or truncated):
    mask = info["action_mask"].astype(bool)
    action, _ = agent.predict(observation, action_masks=mask, deterministic=True)
    observation, reward, over, truncated, info = game.step(action)
    total += float(reward)

found = score(game.unwrapped.plan())
print(f"saved {100 * total:.1f} % of the latency of all-slow: {found.latency_s * 1e3:.3f} ms")
print(f"bytes over the dram port: {sum(found.traffic_bytes.values())}")
