import sys; sys.path.insert(0,'/tmp/work/n5')
src=open('/tmp/work/n5/speed.py').read().split("R={'plain'")[0]; exec(src)
def nets_conv():
    w,z=32,32
    G=nn.Sequential(nn.ConvTranspose2d(z,2*w,7,1,0,bias=False),nn.BatchNorm2d(2*w),nn.ReLU(True),nn.ConvTranspose2d(2*w,w,4,2,1,bias=False),nn.BatchNorm2d(w),nn.ReLU(True),nn.ConvTranspose2d(w,1,4,2,1,bias=False),nn.Tanh())
    D=nn.Sequential(nn.Conv2d(1,w,4,2,1,bias=False),nn.LeakyReLU(.2,True),nn.Conv2d(w,2*w,4,2,1,bias=False),nn.BatchNorm2d(2*w),nn.LeakyReLU(.2,True),nn.Conv2d(2*w,1,7,1,0,bias=False),nn.Sigmoid())
    return init_dcgan(G),init_dcgan(D)
def plain2(conv):
    if conv: G,D=nets_conv()
    else:
        G,D=dcgan_players(); G.to(memory_format=torch.contiguous_format);D.to(memory_format=torch.contiguous_format)
    crit=nn.BCELoss(); og=torch.optim.Adam(G.parameters(),2e-3,(.5,.999)); od=torch.optim.Adam(D.parameters(),5e-4,(.5,.999))
    dl=torch.utils.data.DataLoader(torch.utils.data.TensorDataset(data.images,data.labels),64,shuffle=True,drop_last=True)
    it=iter(dl); L=[]
    sig=(lambda x: D(x).view(-1)) if conv else (lambda x: torch.sigmoid(D(x)))
    def f():
        nonlocal it
        try: x=next(it)
        except StopIteration: it=iter(dl); x=next(it)
        D.zero_grad(); real=x[0]; b=real.size(0); label=torch.full((b,),1.)
        out=sig(real); e=crit(out,label); e.backward(); Dx=out.mean().item()
        fake=G(torch.randn(b,32,1,1) if conv else torch.randn(b,32)); label.fill_(0.)
        out=sig(fake.detach()); e2=crit(out,label); e2.backward(); d1=out.mean().item(); eD=e+e2; od.step()
        G.zero_grad(); label.fill_(1.); out=sig(fake); eG=crit(out,label); eG.backward(); d2=out.mean().item(); og.step()
        L.append((eG.item(),eD.item()))
    return f
R={'plain':plain2(False),'plain conv':plain2(True),'ours':mk(),'ours both':mk(inplace=True,perm=True)}
T={k:[] for k in R}
for f in R.values(): f();f();f()
for _ in range(30):
    for k,f in R.items():
        t=time.process_time();f();T[k].append(time.process_time()-t)
for k,v in T.items(): print(f'{k:20s} min {min(v)*1e3:7.2f} med {statistics.median(v)*1e3:7.2f}')
