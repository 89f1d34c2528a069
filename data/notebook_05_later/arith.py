import sys,torch,math
torch.set_num_threads(1)
from ganlib.pretrained import *
from ganlib.training import *
name=sys.argv[1]
G=generator(name); C=classifier(name)
def slant(x):
    ink=(x[:,0]+1)/2; m=ink.sum((1,2)).clamp(min=1e-6)
    r=torch.arange(28.)
    cy=(ink.sum(2)*r).sum(1)/m; cx=(ink.sum(1)*r).sum(1)/m
    dy=r[None]-cy[:,None]; dx=r[None]-cx[:,None]
    myy=(ink*dy[:,:,None]**2).sum((1,2)); mxy=(ink*dy[:,:,None]*dx[:,None,:]).sum((1,2))
    return -mxy/myy
def thick(x): return (x[:,0]+1).mean((1,2))/2
z=latents(G,20000,torch.Generator().manual_seed(0))
x=torch.cat([evaluate(G,c) for c in z.split(1000)])
p=torch.cat([evaluate(C,c) for c in x.split(1000)]).softmax(1); conf,cl=p.max(1)
print('class shares',[round((cl==k).float().mean().item(),3) for k in range(10)],'conf>.9',(conf>.9).float().mean().item())
A=slant(x) if name=='digits' else thick(x)
print('attr mean/std',A.mean(),A.std())
gen=torch.Generator().manual_seed(1)
def pools(a):
    ok=(cl==a)&(conf>.9); q=A[ok].quantile(torch.tensor([.2,.8])); 
    return z[ok&(A<=q[0])], z[ok&(A>=q[1])], A[ok&(A<=q[0])].mean().item(), A[ok&(A>=q[1])].mean().item()
P={a:pools(a) for a in range(10)}
def pick(pool,n,k): return pool[torch.randint(len(pool),(n,k),generator=gen)].mean(1)
for k in (1,3,9):
    tot=[];
    for a in range(10):
        for b in range(10):
            if a==b: continue
            n=100
            r=pick(P[a][1],n,k)-pick(P[a][0],n,k)+pick(P[b][0],n,k)
            y=evaluate(G,r); c=evaluate(C,y).argmax(1); s=slant(y) if name=='digits' else thick(y)
            tot.append((a,b,(c==b).float().mean().item(),(s.mean().item()-P[b][2])/(P[b][3]-P[b][2]), (r.norm(dim=1).mean()/math.sqrt(32)).item()))
    T=torch.tensor([t[2:] for t in tot]); print(k,'kept class',T[:,0].mean().item(),'attr gain',T[:,1].mean().item(),'norm/sqrt d',T[:,2].mean().item())
    tot.sort(key=lambda t:-t[2]*min(t[3],1)); print([(t[0],t[1],round(t[2],2),round(t[3],2)) for t in tot[:8]])
