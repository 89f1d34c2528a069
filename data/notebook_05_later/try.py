"""run py:percent source cells; save figures"""
import sys,re,io,os,time
os.environ.setdefault('CI','true')
import matplotlib; matplotlib.use('agg'); import matplotlib.pyplot as plt
src=open(sys.argv[1]).read(); os.makedirs('/tmp/work/figs5',exist_ok=True)
cells=re.split(r'(?m)^# %%',src)[1:]
os.chdir('/work/main/notebooks')
ns={}; k=0; nf=0
stop=int(sys.argv[2]) if len(sys.argv)>2 else 10**9
from IPython.display import display
ns['display']=display
for c in cells:
    head,body=c.split('\n',1)
    if 'markdown' in head: continue
    k+=1
    if k>stop: break
    t=time.process_time()
    old=plt.show
    def show():
        global nf
        nf+=1; plt.gcf().savefig(f'/tmp/work/figs5/f{nf:02d}.png'); plt.close('all')
    plt.show=show
    try: exec(compile(body,f'cell{k}','exec'),ns)
    except Exception as e:
        import traceback; traceback.print_exc(); print(body); break
    dt=time.process_time()-t
    if dt>.5: print(f'   [cell {k}: {dt:.1f} s]',flush=True)
