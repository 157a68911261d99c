"Train a language model: `python run_c4.py --help`, or under `torchrun`."
import sys
from lowrank_nb.run_c4 import main
sys.exit(main())
