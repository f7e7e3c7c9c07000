package reports

import "testing"

// TestAccounting breaks each identity of a load's books by one, and sees it reported.
func TestAccounting(t *testing.T) {
	t.Parallel()
	// due, not sent, sent, acknowledged, failed, in flight, owed, delivered, duplicates, out of order
	books := []float64{100, 5, 95, 80, 10, 5, 1600, 1590, 2, 1}
	if ok, detail := checks["danmaku-accounting"].judge(books); !ok {
		t.Fatalf("books that agree are refused: %s", detail)
	}
	for name, broken := range map[string]struct {
		at int
		by float64
	}{
		"a message that was due is neither sent nor not sent": {0, 1},
		"one is sent that was not due":                        {2, 1},
		"an acknowledgement of nothing":                       {3, 1},
		"a message has no end":                                {5, -1},
		"more is delivered than is owed":                      {7, 11},
	} {
		changed := append([]float64(nil), books...)
		changed[broken.at] += broken.by
		if ok, detail := checks["danmaku-accounting"].judge(changed); ok {
			t.Errorf("%s, and the books agree: %s", name, detail)
		}
	}
}

// TestQueueBooks does the same with the queue of gifts.
func TestQueueBooks(t *testing.T) {
	t.Parallel()
	// in the ledger, put, in the ranking, waiting, of those put: found it full
	books := []float64{100, 100, 95, 5, 20}
	if ok, detail := checks["gift-queue"].judge(books); !ok {
		t.Fatalf("books that agree are refused: %s", detail)
	}
	for name, broken := range map[string]struct {
		at int
		by float64
	}{
		"a gift vanished from the queue": {3, -1},
		"one is in the ranking twice":    {2, 1},
		"one could not be put in":        {0, 1},
	} {
		changed := append([]float64(nil), books...)
		changed[broken.at] += broken.by
		if ok, detail := checks["gift-queue"].judge(changed); ok {
			t.Errorf("%s, and the books agree: %s", name, detail)
		}
	}
}
