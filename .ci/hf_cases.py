"""Transformers' common model tests on a plain and a factorized model; `hf_tests.py` runs them."""
import copy
import os
import unittest

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.testing_utils import torch_device

from lowrank_nb import FactorizeConfig, factorize

from .generation.test_utils import GenerationTesterMixin
from .test_modeling_common import ModelTesterMixin, ids_tensor, random_attention_mask

SIZES = dict(
    vocab_size=99, bos_token_id=0, eos_token_id=1, pad_token_id=0, attention_dropout=0.)
WIDE = SIZES | dict(
    hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=512)
GPT2 = dict(
    n_embd=32, n_layer=2, n_head=4, n_positions=512, vocab_size=99, bos_token_id=0,
    eos_token_id=1, pad_token_id=0, resid_pdrop=0., embd_pdrop=0., attn_pdrop=0.)
KIND = os.environ.get('LOWRANK_KIND', 'lowrank')

class Tester:
    "Hold what the common tests ask for: a config and inputs."
    is_training, batch_size, seq_length = True, 2, 7
    num_hidden_layers = 2
    num_attention_heads = 4
    hidden_size = 32
    def __init__(self, parent, name, low_rank):
        fields = GPT2 if name=='gpt2' else WIDE
        self.config = AutoConfig.for_model(name, **fields)
        self.low_rank = low_rank

    def get_config(self):
        if not self.low_rank:
            return copy.deepcopy(self.config)
        with torch.device('meta'):
            model = AutoModelForCausalLM.from_config(self.config)
        config = factorize(model, FactorizeConfig(KIND, attn_rank=8, mlp_rank=8)).config
        return type(config).from_dict(config.to_dict()) # no model has used it yet

    def prepare_config_and_inputs_for_common(self):
        shape = self.batch_size, self.seq_length
        inputs = dict(input_ids=ids_tensor(shape, 99), attention_mask=random_attention_mask(shape))
        return self.get_config(), {k: v.to(torch_device) for k,v in inputs.items()}

def model_class(name, low_rank):
    tester = Tester(None, name, low_rank)
    with torch.device('meta'):
        model = AutoModelForCausalLM.from_config(tester.config)
    if not low_rank: return type(model)
    return type(factorize(model, FactorizeConfig(KIND, attn_rank=8, mlp_rank=8)))

def make_case(name, low_rank):
    class Case(ModelTesterMixin, GenerationTesterMixin, unittest.TestCase):
        all_model_classes = (model_class(name, low_rank),)
        def setUp(self): self.model_tester = Tester(self, name, low_rank)
        def _prepare_for_class(self, inputs, cls, return_labels=False): # it goes by known names
            inputs = copy.deepcopy(inputs)
            if return_labels:
                inputs['labels'] = inputs['input_ids'].clone()
            return inputs
    Case.__name__ = Case.__qualname__ = f'{"LowRank" if low_rank else "Plain"}_{name}'
    return Case

for architecture in os.environ.get('LOWRANK_ARCHITECTURES', 'llama').split():
    for factorized in (False, True):
        case = make_case(architecture, factorized)
        globals()[case.__name__] = case
del case
