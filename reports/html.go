package reports

import (
	_ "embed"
	"encoding/json"
	"html/template"
	"io"
	"math"
)

//go:embed report.html.tmpl
var page string

// view is what the page's template sees.
type view struct {
	Document
	Headline []headline
	Figures  []figure
	Defs     []SLI
}

type headline struct{ Label, Value, Note string }

type figure struct {
	Title  string
	SVG    template.HTML
	Legend []string
	Data   template.JS // the points, for the cursor
}

// writeHTML writes the whole report as one file that opens anywhere without a network.
func writeHTML(w io.Writer, d Document) error {
	t, err := template.New("report").Funcs(template.FuncMap{
		"t":        func(s string) string { return translate(d.Lang, s) },
		"quantity": Quantity, "bounds": Bounds, "count": Count, "seconds": seconds,
		"mean": func(f Fault) map[string]string {
			name, asked, measured := f.Mean()
			return map[string]string{"asked": Quantity(asked, effectUnit(name)), "measured": Quantity(measured, effectUnit(name)), "what": name}
		},
		"unit": d.unitOf,
		"of":   func(v float64) *float64 { return &v },
	}).Parse(page)
	if err != nil {
		return err
	}
	v := view{Document: d, Headline: headlines(d)}
	var bands []band
	for _, f := range d.Faults {
		if f.Injected != nil {
			to := d.Run.Duration
			if f.Clean != nil {
				to = *f.Clean
			}
			bands = append(bands, band{*f.Injected, to, f.Kind})
		}
	}
	for _, c := range d.Charts {
		f := figure{Title: c.Title, SVG: c.draw(d.Run.Duration, bands)}
		for _, s := range c.Series {
			f.Legend = append(f.Legend, s.Name)
		}
		data, err := json.Marshal(compact(c, d.Run.Duration))
		if err != nil {
			return err
		}
		f.Data = template.JS(data) //nolint:gosec // JSON of numbers and our own names
		v.Figures = append(v.Figures, f)
	}
	seen := map[string]bool{}
	for _, o := range d.Objectives {
		if sli, ok := FindSLI(o.SLI); ok && !seen[o.SLI] {
			v.Defs = append(v.Defs, sli)
			seen[o.SLI] = true
		}
	}
	return t.Execute(w, v)
}

// compact is a chart's data as the page's script reads it.
func compact(c Chart, duration float64) map[string]any {
	series := []map[string]any{}
	for _, s := range c.Series {
		points := make([][2]float64, len(s.Points))
		for i, p := range s.Points {
			points[i] = [2]float64{math.Round(p.T*10) / 10, math.Round(p.V*1e6) / 1e6}
		}
		series = append(series, map[string]any{"name": s.Name, "points": points})
	}
	return map[string]any{"unit": c.Unit, "duration": duration, "series": series}
}

// headlines are the three numbers that matter: objectives held, faults proven, and the worst that viewers had.
func headlines(d Document) []headline {
	met, proven := 0.0, 0.0
	for _, o := range d.Objectives {
		if o.Verdict == Met {
			met++
		}
	}
	for _, f := range d.Faults {
		if f.State == "restored" {
			proven++
		}
	}
	total, faults := float64(len(d.Objectives)), float64(len(d.Faults))
	out := []headline{
		{"objectives met", Count(met) + " / " + Count(total), ""},
		{"faults proven and restored", Count(proven) + " / " + Count(faults), ""},
	}
	slowest, open := 0.0, 0
	for _, i := range d.Impact {
		if i.Whole == nil {
			open++
		} else {
			slowest = max(slowest, *i.Whole)
		}
	}
	last := headline{Label: "longest until whole again", Value: "-", Note: "no objective's SLI left its limit"}
	if len(d.Impact) > 0 {
		last.Value, last.Note = seconds(&slowest), ""
	}
	if open > 0 {
		last.Note = Count(float64(open)) + " not within the run"
	}
	return append(out, last)
}

// translate gives a text in the report's language. What has no translation stays English.
func translate(lang, text string) string {
	if lang == "zh" {
		if zh, ok := chinese[text]; ok {
			return zh
		}
	}
	return text
}

// chinese are the report's words as people of this field use them.
var chinese = map[string]string{
	"passed": "通过", "missed": "未达标", "inconclusive": "无法判定", "unrestored": "故障未恢复", "interrupted": "已中断",
	"met": "达标", "not-provable": "样本不足", "not-measured": "未测量", "invalid": "无效",
	"restored": "已恢复", "not-injected": "未生效", "not-restored": "未恢复", "valid": "有效", "suspect": "存疑", "saturated": "压测端饱和",
	"objectives met": "达标目标", "faults proven and restored": "已验证并恢复的故障", "longest until whole again": "最长恢复时间",
	"no objective's SLI left its limit": "所有指标未越限", "Why": "原因", "Objectives": "服务目标", "objective": "目标", "during": "时段",
	"limit": "阈值", "measured": "实测", "95 % bounds": "95% 置信区间", "n": "样本数", "verdict": "结论", "Timeline": "时间线",
	"Faults": "故障注入", "fault": "故障", "on": "对象", "by": "方式", "asked": "设定", "after": "恢复后", "injected": "注入时刻", "clean": "恢复确认",
	"state": "状态", "Impact": "影响", "hurt": "受影响目标", "first seen after": "首次越限", "whole after": "恢复正常", "worst": "最差值",
	"Load": "压测负载", "load": "负载", "kind": "类型", "made": "实际", "failed": "失败", "late p99": "发送延迟 p99", "Consistency": "一致性校验",
	"check": "校验项", "detail": "明细", "Definitions": "指标定义", "The run": "本次演练", "phase": "阶段", "from": "开始", "to": "结束",
	"Costs": "工具自身开销", "Notes": "说明",
	"Viewers: share of time stalled": "观众卡顿率", "Viewers: end-to-end delay of arriving frames": "端到端延迟",
	"Transcoder: delay of a frame, and backlog": "转码延迟与积压", "Danmaku: messages a second": "弹幕速率",
	"Danmaku: time to a member of the room": "弹幕送达延迟", "API: requests a second": "接口请求速率", "API: latency from the due time": "接口延迟",
	"Edges: share of requests answered from the cache": "CDN 缓存命中率", "Processor: cores in use": "CPU 占用（核）",
	"push_success_ratio": "推流成功率", "stall_ratio": "卡顿率", "session_drop_ratio": "掉线率", "first_frame_seconds": "首屏时间",
	"fast_start_ratio": "秒开率", "e2e_latency_seconds": "端到端延迟", "danmaku_delivery_ratio": "弹幕到达率",
	"danmaku_accept_ratio": "弹幕接收率", "danmaku_delivery_seconds": "弹幕延迟", "api_error_ratio": "接口错误率", "api_latency_seconds": "接口延迟",
	"payment_success_ratio": "支付成功率", "ledger_mismatches": "账务差异", "transcode_delay_seconds": "转码延迟", "cache_hit_ratio": "缓存命中率",
}
