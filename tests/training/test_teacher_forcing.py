"""Teacher forcing computes what a rollout computes."""

import pytest
import torch

from harness import registry
from harness.backbone.presets import build, scramble
from harness.backbone.sampler import Sampler, to_noisy
from harness.backbone.wan import WanConfig
from harness.memory import At, MemorySpec
from harness.rollout.passes import Passes
from harness.training.contexts.arrangements import Policy, arrange
from harness.training.teacher_forcing import OWN_STEPS, Teacher, explicit_attention

CONFIG = WanConfig(dim=32, ffn_dim=48, num_heads=2, num_layers=3, text_dim=7, text_len=5, freq_dim=16)
SIZE, CHUNK, CHUNKS, BATCH, PROMPTS = (4, 4), 3, 5, 2, 5


@pytest.fixture
def model():
    return scramble(build(CONFIG), seed=3)


def inputs():
    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(shape, generator=generator)

    shape = (BATCH, CHUNKS * CHUNK, 16, *SIZE)
    heard = torch.tensor([[0, 0, 1, 1, 2], [3, 3, 3, 3, 4]])
    return (
        draw(*shape),
        draw(*shape),
        1000 * torch.rand(BATCH, CHUNKS, generator=generator),
        draw(PROMPTS, 5, 7),
        heard,
    )


def by_rollout(model, strategy, context, noisy, timesteps, prompts, heard):
    """Row by row and chunk by chunk, through a memory."""
    flows = torch.empty_like(noisy)
    for row in range(BATCH):
        spec = MemorySpec(
            3, model.layers[0].self_attn.layout, 4, CHUNK, dtype=torch.float32, device=torch.device("cpu")
        )
        memory = strategy.open(spec)
        passes = Passes(model, memory, spec, grid=(2, 2), frames=CHUNKS * CHUNK)
        for chunk in range(CHUNKS):
            here, at = slice(chunk * CHUNK, (chunk + 1) * CHUNK), (chunk * CHUNK, CHUNK)
            passes.prompt = model.embed_prompt(prompts[heard[row, chunk]][None])
            time = model.embed_time(timesteps[row, chunk].view(1, 1))
            flows[row, here] = passes.denoise(noisy[row : row + 1, here], time, At(*at, 0, commit=False))[0]
            still = model.embed_time(torch.zeros(1, 1))
            passes.commit(context[row : row + 1, here], still, At(*at, 1, commit=True))
    return flows


@pytest.mark.parametrize(("window", "strategy"), [(0, "full"), (2, "sliding_window.window=9")])
def test_every_chunk_sees_what_a_rollout_shows_it(model, window, strategy):
    given = inputs()
    flow = Teacher(model, CHUNK, SIZE, compile=False).flow(*given, window=window)
    expected = by_rollout(model, registry.parse_strategy(strategy)[1], *given)
    assert (flow - expected).abs().max() < 2e-5
    assert flow.std() > 0.1


@pytest.mark.parametrize(
    ("policy", "strategy"),
    [
        (Policy(recent=12, relative=False), "full"),
        (Policy(recent=6), "sliding_window.window=9"),
        (Policy(sink=2, recent=4), "attention_sink.window=9,sink=2,positions=relative"),
        (Policy(sink=2, recent=4, relative=False), "attention_sink.window=9,sink=2,positions=absolute"),
        (Policy(recent=6, relative=False, shift=40), "sliding_window.window=9"),
    ],
)
def test_an_arrangement_is_what_a_memory_shows(model, policy, strategy):
    given = inputs()
    arrangement = arrange(0, given[4], CHUNK, 4, (2, 16), 12, [policy] * BATCH)
    flow = Teacher(model, CHUNK, SIZE, compile=False).flow(*given, arrangement=arrangement)
    expected = by_rollout(model, registry.parse_strategy(strategy)[1], *given)
    assert (flow - expected).abs().max() < 2e-5


def test_a_single_chunk_needs_no_context(model):
    context, noisy, timesteps, prompts, heard = (x[:, :CHUNK] if i < 2 else x for i, x in enumerate(inputs()))
    flow = Teacher(model, CHUNK, SIZE, compile=False).flow(context, noisy, timesteps[:, :1], prompts, heard[:, :1])
    long = Teacher(model, CHUNK, SIZE, compile=False).flow(*inputs())
    assert (flow - long[:, :CHUNK]).abs().max() < 2e-5


def test_the_models_own_attention_comes_back(model):
    before = [(block.self_attn.attention, block.cross_attn.attention) for block in model.layers]
    Teacher(model, CHUNK, SIZE, compile=False).flow(*inputs())
    assert before == [(block.self_attn.attention, block.cross_attn.attention) for block in model.layers]


def test_explicit_attention_is_attention():
    query, keys, values = torch.randn(3, 2, 5, 4, 8).unbind(0)
    expected = torch.nn.functional.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (query, keys, values)))
    assert torch.allclose(explicit_attention(query, keys, values), expected.transpose(1, 2), atol=1e-6)


def test_a_rehearsal_is_a_guided_rollout_after_its_own_chunks(model):
    clean, _, _, prompts, heard = inputs()
    sampler = Sampler()
    opens = torch.tensor([[True, False, False, True, False], [True, False, False, False, False]])
    teacher = Teacher(model, CHUNK, SIZE, compile=False)
    outputs = teacher.rehearse(clean, prompts, heard, opens, sampler, torch.Generator().manual_seed(0))
    # The same, all chunks at once: teacher-forced passes with the outputs as context, led by the noised truth.
    generator = torch.Generator().manual_seed(0)
    draws = [
        [torch.randn(BATCH, CHUNK, 16, *SIZE, generator=generator) for _ in range(OWN_STEPS)] for _ in range(CHUNKS)
    ]
    made = clean
    whole = opens.repeat_interleave(CHUNK, 1)[:, :, None, None, None]
    for step in range(OWN_STEPS):
        sigma, timestep = sampler.sigmas[step - OWN_STEPS], sampler.timesteps[step - OWN_STEPS]
        noisy = to_noisy(made, torch.cat([chunk[step] for chunk in draws], 1), sigma)
        made = noisy - sigma * teacher.flow(outputs, noisy, torch.full(heard.shape, timestep), prompts, heard)
    assert (torch.where(whole, clean, made) - outputs).abs().max() < 1e-4
    assert outputs.std() > 0.1
