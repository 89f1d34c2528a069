import sys; sys.path.insert(0,'/tmp/work/n5')
import torch,time,copy
from torch import nn
torch.set_num_threads(1)
from ganlib.networks import *
from ganlib.games import GAMES
from ganlib.images import fashion
from ganlib.pretrained import *
from ganlib.training import *
seen,held=halves(fashion()); ref=held.images[::2]; judge=classifier('fashion')
def without(n):
    n=copy.deepcopy(n)
    for m in list(n.modules()):
        for k,c in m.named_children():
            if isinstance(c,nn.BatchNorm2d): setattr(m,k,nn.Identity())
    return n
def everywhere(G,D):
    G,D=copy.deepcopy(G),copy.deepcopy(D)
    G.body.insert(6,init_dcgan(nn.BatchNorm2d(1))); D.body.insert(1,init_dcgan(nn.BatchNorm2d(32)))
    return G,D
class Pool(nn.Module): pass
def pooled(seed):
    w=32
    torch.manual_seed(seed)
    G,D=dcgan_players(seed=seed)
    G.body[4]=nn.Sequential(nn.Upsample(scale_factor=2),nn.Conv2d(64,32,3,padding=1,bias=False),nn.BatchNorm2d(32),nn.ReLU())
    G.body[5]=nn.Sequential(nn.Upsample(scale_factor=2),nn.Conv2d(32,1,3,padding=1))
    D.body[0]=nn.Sequential(nn.Conv2d(1,32,3,padding=1),nn.AvgPool2d(2))
    D.body[2]=nn.Sequential(nn.Conv2d(32,64,3,padding=1,bias=False),nn.AvgPool2d(2),nn.BatchNorm2d(64),nn.LeakyReLU(.2))
    return init_dcgan(G).to(memory_format=torch.channels_last),init_dcgan(D).to(memory_format=torch.channels_last)
def make(kind,seed):
    G,D=dcgan_players(seed=seed)
    return {'dcgan':lambda:(G,D),'none':lambda:(without(G),without(D)),'everywhere':lambda:everywhere(G,D),'Gonly':lambda:(G,without(D)),'pool':lambda:pooled(seed)}[kind]()
if __name__=="__main__":
    steps=int(sys.argv[1]); 
    for seed in map(int,sys.argv[3].split(',')):
        for kind in sys.argv[2].split(','):
            G,D=make(kind,seed); c=time.process_time(); o=[]
            for s in train(G,D,GAMES['non-saturating'],seen,steps=steps,every=steps//4,n_samples=2500,batch_size=64,lr_g=2e-3,lr_d=5e-4,seed=seed):
                t=time.process_time()-c; o.append(round(frechet_distance(ref,s.samples,judge),1))
            torch.save(s.samples[:64],f'/tmp/work/n5/v_{kind}_{seed}.pt')
            H=copy.deepcopy(G).train()
            with torch.no_grad(): tr=torch.cat([H(z) for z in latents(G,2500,torch.Generator().manual_seed(5)).split(64)])
            print(kind,seed,o,'train-mode',round(frechet_distance(ref,tr,judge),1),'cpu',round(t),flush=True)
