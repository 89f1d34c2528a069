import torch; torch.set_num_threads(1)
from ganlib.pretrained import *
from ganlib.images import fashion
from ganlib.training import *
seen,held=halves(fashion()); G=generator('fashion')
def near(x,a): return torch.cdist(x.flatten(1),a.flatten(1)).min(1)
for s in (1,2,3):
    x=evaluate(G,latents(G,2500,torch.Generator().manual_seed(s)))
    a,b=near(x,seen.images).values,near(x,held.images).values
    print('share nearer to seen',(a<b).float().mean().item(),'min',a.min().item(),'med',a.median().item())
h=near(held.images[:2500],seen.images).values
print('held-out to seen: min',h.min().item(),'med',h.median().item(), (h==0).sum().item())
# real self test: half of held vs seen & other half?
y=held.images[::2]; a=near(y,seen.images[::2]).values; b=near(y,held.images[1::2]).values
print('real others share',(a<b).float().mean().item())
c=seen.images[:2500]+0.2*torch.randn(2500,1,28,28,generator=torch.Generator().manual_seed(0)); c=c.clamp(-1,1)
a,b=near(c,seen.images).values,near(c,held.images).values; print('noisy copier',(a<b).float().mean().item(), a.min().item(), a.median().item())
# judge features
C=classifier('fashion'); f=lambda x: evaluate(C.features,x)
x=evaluate(G,latents(G,2500,torch.Generator().manual_seed(1)))
a,b=torch.cdist(f(x),f(seen.images)).min(1).values,torch.cdist(f(x),f(held.images)).min(1).values; print('feature share',(a<b).float().mean().item())
