"""The published files: revision, size and SHA-256 of each.

The values are from manifests of several projects, which agree. Wan's configuration files were reconstructed from the
values in them, and have these hashes. Of Causal-Forcing and Self Gradient Forcing only the places are known, from their
authors' pages: these files are not pinned.
"""

from __future__ import annotations

from harness.backbone.published.artifacts import Artifact

_WAN = ("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", "0fad780a534b6463e45facd96134c9f345acfa5b")
WAN = tuple(
    Artifact(*_WAN, path, size, digest)
    for path, size, digest in (
        ("text_encoder/config.json", 854, "4087b6192155a4643f6d29fd326c4610103130674011ef4d0a53f8bce5de967d"),
        (
            "text_encoder/model-00001-of-00005.safetensors",
            4_972_389_712,
            "c0ef3a140898e228a3520c9adec60743d2e8e5b3d229651bb37f1a3921919f99",
        ),
        (
            "text_encoder/model-00002-of-00005.safetensors",
            4_899_225_672,
            "481c7b2b39771c44df6dd8d13ee12ed072d731b4a650bd092885d4d52db229ad",
        ),
        (
            "text_encoder/model-00003-of-00005.safetensors",
            4_966_309_504,
            "f93148bcc04052a169e1e49bfcf6125df6cf9bf243cb9c627da75266cf8e35c3",
        ),
        (
            "text_encoder/model-00004-of-00005.safetensors",
            4_999_880_704,
            "a451792c739c05bca4606190cc2dd16731411bac03b4cf6aacc5767321f857c9",
        ),
        (
            "text_encoder/model-00005-of-00005.safetensors",
            2_885_866_152,
            "7e76e18d224531b8197a46231cb53daf7f2f6ca707130252becf933026ac4eea",
        ),
        (
            "text_encoder/model.safetensors.index.json",
            22_476,
            "8af791f24a6447aa30c95786f40adf23d3c9df97470d2f36159c8f1113f120b4",
        ),
        ("tokenizer/tokenizer.json", 16_837_459, "20a46ac256746594ed7e1e3ef733b83fbc5a6f0922aa7480eda961743de080ef"),
        ("tokenizer/spiece.model", 4_548_313, "e3909a67b780650b35cf529ac782ad2b6b26e6d1f849d3fbb6a872905f452458"),
        (
            "tokenizer/tokenizer_config.json",
            61_758,
            "1d8d2a216bf8e70ac15b7ddcea566c4dd0433c024b39a58ca5e4c66bd78defbd",
        ),
        (
            "tokenizer/special_tokens_map.json",
            7_079,
            "456b58fd240a06c743a7c2cf8008bec501240d68ebd1fc4018ea569505fea270",
        ),
        ("vae/config.json", 724, "f0c1cc1d7decb5badc384f54691746a27a9aeff49f7ebca974e583389342d527"),
        (
            "vae/diffusion_pytorch_model.safetensors",
            507_591_892,
            "d6e524b3fffede1787a74e81b30976dce5400c4439ba64222168e607ed19e793",
        ),
    )
)
"""Text encoder, tokenizer and VAE, which all published backbones share."""
TEXT = tuple(each for each in WAN if each.part != "vae")
SELF_FORCING = Artifact(
    "gdhe17/Self-Forcing",
    "2f8b779212da279d212c22a509b66ad6552f350e",
    "checkpoints/self_forcing_dmd.pt",
    5_676_252_553,
    "a0413986d9734e02c09504e1520f5697ba6df731bb2f0f35577485e9cc8f56a3",
)
_LONGLIVE = ("Efficient-Large-Model/LongLive-1.3B", "cda9138d93872ef109d9a74c270184eb3a5acc6e")
LONGLIVE = Artifact(
    *_LONGLIVE,
    "models/longlive_base.pt",
    5_676_334_208,
    "10a2aa8fcf89c77d9033f4c117405412a690e289625766619d293f0c5a208ee7",
)
LONGLIVE_ADAPTER = Artifact(
    *_LONGLIVE,
    "models/lora.pt",
    2_800_056_690,
    "c4e43b87d62d4b0614b496773639f1ab170a7ee486dc23407901e9d3a5ebc07a",
)
CAUSAL_FORCING = Artifact(
    "zhuhz22/Causal-Forcing",
    None,
    "chunkwise/causal_forcing.pt",
    None,
    None,
    also=("chunkwise/longvideo.pt",),
)
SELF_GRADIENT_FORCING = Artifact("JunhaoZhuang/Self_Gradient_Forcing", None, "chunkwise/ar/model.pt", None, None)
LIGHT_DECODER = Artifact(
    "lightx2v/Autoencoders",
    "b42886995deccb94b8c65b7c89e7eaf1fd95e0a9",
    "taew2_1.pth",
    22_679_486,
    "f986092baa4a124035dcf44ef59cd30e0bef91b2aa4d6a6e8e152e55e82ca30c",
)
"""TAEHV's weights for Wan2.1, under MIT as published by its author, in a repository under Apache-2.0."""
