package reports

import (
	"fmt"
	"strings"
)

// SLI is one number by which a platform's service is judged, with its definition as every report prints it.
type SLI struct {
	Name       string
	Unit       string // ratio, seconds or count
	Definition string
	// A ratio is Good ÷ Total, both increases of counters over the window.
	Good, Total string
	// A ratio of time has no trials of its own: those who were there are, the ones that had begun before the window's end less the
	// ones that had ended before it began.
	Begun, Ended string
	// Late ratios count what is good some time after what is due: what is missing now and there later was only late.
	Late bool
	// Apart ratios count their two sides in different regions: a message is owed where it is sent, and seen where its readers are.
	Apart bool
	// A distribution is the increase of a native histogram over the window; its objectives name a quantile.
	Histogram string
	// Any other value is PromQL at the window's end, with N events behind it.
	Value, N string
}

// SLIs lists every SLI.
var SLIs = []SLI{
	{Name: "push_success_ratio", Unit: "ratio",
		Definition: "streams whose first frame a probe viewer saw at an edge within 10 s ÷ publish attempts",
		Good:       `livedrill_push_total{result="seen"}`, Total: `livedrill_push_total`},
	{Name: "publish_accept_ratio", Unit: "ratio",
		Definition: "publishes accepted (RTMP NetStream.Publish.Start; WHIP 201, ICE and DTLS) ÷ attempts",
		Good:       `livedrill_publish_total{result="accepted"}`, Total: `livedrill_publish_total`},
	{Name: "first_frame_seconds", Unit: "seconds",
		Definition: "viewer: from before connecting to the last byte of the first decodable IDR; by HLS, of the segment with it",
		Histogram:  `livedrill_first_frame_seconds{protocol!="probe"}`},
	{Name: "fast_start_ratio", Unit: "ratio",
		Definition: "sessions with the first picture within 1 s ÷ sessions that got one or gave up",
		Good:       `livedrill_starts_total{result="fast"}`, Total: `livedrill_starts_total`},
	{Name: "stall_ratio", Unit: "ratio",
		Definition: "stalled time ÷ watched time, start-up and stalls included; a stall is a gap of over 500 ms past the buffer; n is the sessions",
		Good:       `livedrill_player_stalled_seconds_total`, Total: `livedrill_player_watched_seconds_total`,
		Begun: `livedrill_sessions_begun_total{role="viewer"}`, Ended: `livedrill_viewings_total`},
	{Name: "stalled_session_ratio", Unit: "ratio",
		Definition: "viewers' sessions with at least one stall ÷ viewers' sessions that ended",
		Good:       `livedrill_viewings_stalled_total`, Total: `livedrill_viewings_total`},
	{Name: "e2e_latency_seconds", Unit: "seconds",
		Definition: "arrival of a frame at the viewer − send time carried in its SEI; one machine, one clock: the clocks' error is 0",
		Histogram:  `livedrill_e2e_latency_seconds`},
	{Name: "av_skew_seconds", Unit: "seconds",
		Definition: "how far sound and picture are apart that belong together, either way: time stamp − send time of the one, by the stamp in its AAC, against the other's; RTMP, FLV and HLS viewers, of streams whose sound is not encoded anew",
		Histogram:  `livedrill_av_skew_seconds`},
	{Name: "pts_gap_ratio", Unit: "ratio",
		Definition: "pictures whose time stamp goes back, or leaves a gap of over 500 ms (a setting: gap), after the one before ÷ pictures that came to viewers",
		Good:       `livedrill_player_pts_gaps_total`, Total: `livedrill_player_frames_total`},
	{Name: "session_drop_ratio", Unit: "ratio",
		Definition: "sessions ended by anything but their own plan ÷ sessions begun",
		Good:       `livedrill_sessions_dropped_total`, Total: `livedrill_sessions_begun_total`},
	{Name: "transcode_delay_seconds", Unit: "seconds",
		Definition: "frame out of the transcoder − frame in, by the same stamp",
		Histogram:  `livedrill_transcode_delay_seconds`},
	{Name: "danmaku_ack_seconds", Unit: "seconds",
		Definition: "from the intended send time to the acknowledgement", Histogram: `livedrill_danmaku_ack_seconds`},
	{Name: "danmaku_delivery_seconds", Unit: "seconds",
		Definition: "from the intended send time to each member of the room", Histogram: `livedrill_danmaku_delivery_seconds`},
	{Name: "danmaku_delivery_ratio", Unit: "ratio",
		Definition: "deliveries seen ÷ deliveries owed (accepted × members in the room then); duplicates are counted apart",
		Late:       true, Apart: true, Good: `livedrill_danmaku_delivered_total`, Total: `livedrill_danmaku_owed_total`},
	{Name: "danmaku_accept_ratio", Unit: "ratio",
		Definition: "messages acknowledged within 2 s of when they were due ÷ messages of which that is known; refused, unsent and overdue ones are not",
		Good:       `livedrill_danmaku_judged_total{result="good"}`, Total: `livedrill_danmaku_judged_total`},
	{Name: "api_latency_seconds", Unit: "seconds",
		Definition: "from the intended send time to the whole answer, errors included", Histogram: `livedrill_api_latency_seconds`},
	{Name: "api_error_ratio", Unit: "ratio",
		Definition: "5xx, time-outs and resets ÷ requests",
		Good:       `livedrill_api_requests_total{outcome="error"}`, Total: `livedrill_api_requests_total`},
	{Name: "cache_hit_ratio", Unit: "ratio",
		Definition: "requests for HLS that an edge answered from its cache ÷ requests",
		Good:       `livedrill_edge_requests_total{cache=~"HIT|STALE|UPDATING|REVALIDATED"}`, Total: `livedrill_edge_requests_total`},
	{Name: "payment_success_ratio", Unit: "ratio",
		Definition: "gifts acknowledged ÷ gifts sent",
		Good:       `livedrill_api_requests_total{route="gift",outcome="ok"}`, Total: `livedrill_api_requests_total{route="gift"}`},
	{Name: "ledger_mismatches", Unit: "count",
		Definition: "coins by which gifts and accounts differ + gifts acknowledged and not in the ledger",
		Value: `sum(livedrill_ledger_difference{instance="gateway"} @ $TO) + clamp_min(sum(livedrill_api_requests_total{route="gift",outcome="ok"} @ $TO)` +
			` - sum(livedrill_ledger_gifts{instance="gateway"} @ $TO), 0)`,
		N: `sum(livedrill_api_requests_total{route="gift",outcome="ok"} @ $TO)`},
	{Name: "stale_read_ratio", Unit: "ratio",
		Definition: "accounts read with more coins than the platform had told the same client before ÷ accounts read",
		Good:       `livedrill_api_account_reads_total{state="stale"}`, Total: `livedrill_api_account_reads_total`},
	{Name: "queue_delay_seconds", Unit: "seconds",
		Definition: "from the moment at which a gift was put in the queue until it is in its room's ranking; gifts that found the queue full are apart",
		Histogram:  `livedrill_queue_delay_seconds{queue="first"}`},
	{Name: "queue_deferred_ratio", Unit: "ratio",
		Definition: "gifts that found the queue full, and were put apart until nobody else waited ÷ gifts put in the queue",
		Good:       `livedrill_queue_put_total{queue="later"}`, Total: `livedrill_queue_put_total`},
	{Name: "journey_success_ratio", Unit: "ratio",
		Definition: "people whose every step succeeded (log in, dispatch, picture, chat, gift, stay) ÷ people whose journey ended",
		Good:       `livedrill_journeys_total{result="whole"}`, Total: `livedrill_journeys_total`},
	{Name: "availability_ratio", Unit: "ratio",
		Definition: "session-seconds without stalls ÷ session-seconds asked for, those included that were left when somebody gave up; n is the sessions",
		Good:       `-livedrill_sessions_denied_seconds_total`, Total: `livedrill_sessions_asked_seconds_total`,
		Begun: `livedrill_sessions_begun_total{role="viewer"}`, Ended: `livedrill_viewings_total`},
}

// FindSLI returns an SLI by its name.
func FindSLI(name string) (SLI, bool) {
	for _, s := range SLIs {
		if s.Name == name {
			return s, true
		}
	}
	return SLI{}, false
}

// Window is a stretch of time between two scrapes, in Unix seconds.
type Window struct{ From, To float64 }

// increase is the PromQL of the exact increase of a counter or histogram between the window's two scrapes.
func increase(selector string, w Window) string {
	return fmt.Sprintf("(sum(%s @ %.3f) - sum(%s @ %.3f))", selector, w.To, selector, w.From)
}

// RatioExpr gives the PromQL of a ratio's parts.
func (s SLI) RatioExpr(w Window) (good, total string) {
	total = increase(s.Total, w)
	if bad, ok := strings.CutPrefix(s.Good, "-"); ok { // good is what is not bad
		return fmt.Sprintf("(%s - %s)", total, increase(bad, w)), total
	}
	return increase(s.Good, w), total
}

// QuantileExpr gives the PromQL of a quantile.
func (s SLI) QuantileExpr(q float64, w Window) string {
	return fmt.Sprintf("histogram_quantile(%.6g, %s)", q, increase(s.Histogram, w))
}

// CountExpr gives the PromQL of the number of events behind a quantile.
func (s SLI) CountExpr(w Window) string {
	return fmt.Sprintf("histogram_count(%s)", increase(s.Histogram, w))
}

// ValueExpr gives the PromQL of any other value, and of the events behind it.
func (s SLI) ValueExpr(w Window) (value, n string) {
	to := fmt.Sprintf("%.3f", w.To)
	return strings.ReplaceAll(s.Value, "$TO", to), strings.ReplaceAll(s.N, "$TO", to)
}
