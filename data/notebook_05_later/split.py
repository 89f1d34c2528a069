import sys; sys.path.insert(0,'/tmp/work/n5')
import time,statistics,torch,os
from torch import nn
torch.set_num_threads(1)
from ganlib.images import fashion
from ganlib.networks import *
from ganlib.objectives import cross_entropy
data=fashion(); G,D=dcgan_players(); rng=torch.Generator().manual_seed(0)
og=torch.optim.Adam(G.parameters(),2e-3,(.5,.999),fused=True); od=torch.optim.Adam(D.parameters(),5e-4,(.5,.999),fused=True)
from collections import defaultdict
T=defaultdict(list)
class t:
    def __init__(s,n): s.n=n
    def __enter__(s): s.t=time.process_time()
    def __exit__(s,*a): T[s.n].append(time.process_time()-s.t)
for i in range(40):
    with t('sample'): real=data.sample(64,rng); z=torch.randn(64,32,generator=rng)
    with t('G fwd nograd'):
        with torch.no_grad(): fake=G(z)
    with t('D fwd x2'): a,b=D(real),D(fake)
    with t('loss'): l=cross_entropy(a,b); od.zero_grad()
    with t('D bwd x2'): l.backward()
    with t('od'): od.step()
    with t('G fwd'): f=G(z)
    D.requires_grad_(False)
    with t('D fwd 1'): q=D(f)
    with t('loss'): l=torch.nn.functional.softplus(-q).mean(); og.zero_grad()
    with t('D bwd to input'): (g,)=torch.autograd.grad(l,f,retain_graph=True)
    with t('G bwd'): f.backward(g)
    D.requires_grad_(True)
    with t('og'): og.step()
tot=0
for k,v in T.items(): m=statistics.median(v[5:])*1e3; print(f'{k:16s}{m:7.2f}'); tot+=m
print(tot)
# layers fwd of D,G
def layers(net,x,grad):
    rows=defaultdict(list)
    for i in range(30):
        h=x
        for k,l in enumerate(net.body):
            s=time.process_time()
            with torch.set_grad_enabled(grad): h=l(h)
            rows[f'{k} {type(l).__name__} {tuple(h.shape)} cl={h.dim()==4 and h.is_contiguous(memory_format=torch.channels_last)}'].append(time.process_time()-s)
    for k,v in rows.items(): print(f'{k:60s}{statistics.median(v)*1e3:7.2f}')
layers(G,torch.randn(64,32),False); layers(D,data.images[:64],True)
