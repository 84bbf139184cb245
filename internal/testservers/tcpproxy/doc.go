// Package tcpproxy is a TCP proxy on the loopback interface that breaks
// connections where a test wants them broken: by RST or FIN, at a given request,
// or after the server has answered and before the client hears of it.
//
//	proxy := tcpproxy.New(t, "127.0.0.1:5432")
//	proxy.SetRule(tcpproxy.On(tcpproxy.FromServer, tcpproxy.Contains("COMMIT\x00"),
//		tcpproxy.Verdict{Cut: tcpproxy.Reset}))
//	// The next commit through proxy.Addr() takes effect, and its client gets
//	// a lost connection for an answer.
package tcpproxy
