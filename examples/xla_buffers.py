"""A buffer list as XLA's memory-space assignment dumps it, planned for a chip of ours."""

from ullage.compiler import compile_problem
from ullage.compiler.integrations.xla import XlaWork, problem_from_live_buffers, read_buffer_info
from ullage.hwmodels.catalog.registry import load_target

DUMP = """\
buffer_id,buffer_name,alt_mem_benefit,size,definition_time,use_times,use_names,is_scoped
0,"param.0",1.0,131072,0,"3","fusion.1, operand 0",0
1,"param.1",1.0,65536,1,"3","fusion.1, operand 1",0
2,"param.2",1.0,262144,2,"5","convolution.2, operand 1",0
3,"fusion.1",2.0,65536,3,"4;6","negate.1, operand 0;add.1, operand 1",0
4,"negate.1",2.0,65536,4,"5","convolution.2, operand 0",0
5,"convolution.2",2.0,65536,5,"6","add.1, operand 0",0
5,"add.1",2.0,65536,6,"","",0
6,"scoped",0.0,4096,5,"","",1
"""
buffers = read_buffer_info(
    DUMP, {"param.0": "input", "param.1": "weight", "param.2": "weight", "add.1": "output"}
)
work = {
    3: XlaWork(macs=8_388_608),
    4: XlaWork(vector_elements=32_768),
    5: XlaWork(macs=16_777_216),
    6: XlaWork(vector_elements=32_768),
}
target = load_target("edge-npu").with_fast_memory(192 * 1024)
done = compile_problem(problem_from_live_buffers("hlo", buffers, target, work))
print(f"latency {done.score.latency_s:.3e} s, lower bound {done.bound.value:.3e} s")
for r in done.plan.residencies:
    name = done.plan.problem.buffers[r.buffer].name
    print(f"{name:14} {r.tier:5} at {r.offset:7} during steps [{r.start}, {r.end})")
