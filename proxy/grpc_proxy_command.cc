#include "proxy/grpc_proxy_command.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "base/log.h"
#include "base/options.h"
#include "base/start_command.h"
#include "base/status_util.h"
#include "base/text.h"
#include "proxy/proxy_config.h"
#include "proxy/proxy_server.h"
#include "server/sd_notify.h"
#include "server/stop_signals.h"

namespace quorate::proxy {
namespace {

constexpr char kUsage[] = R"(start the grpc proxy

Usage:
  quorate grpc-proxy start [flags]

)";

absl::Status Serve(const OptionValues& values) {
  if (values.GetBool("debug")) {
    LogConfig log;
    log.level = LogLevel::kDebug;
    QR_RETURN_IF_ERROR(ConfigureLog(log));
  }
  QR_ASSIGN_OR_RETURN(const ProxyConfig config, MakeProxyConfig(values));
  const sigset_t signals = server::StopSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  QR_ASSIGN_OR_RETURN(std::unique_ptr<ProxyServer> proxy, ProxyServer::Start(config));
  LogInfo("started gRPC proxy", {{"address", values.GetString("listen-addr")}});
  if (const absl::Status notified = server::NotifyReady(); !notified.ok()) {
    LogWarn("failed to notify init daemon", {notified});
  }
  int number = 0;
  sigwait(&signals, &number);
  if (number == SIGQUIT) _exit(2);
  proxy.reset();
  LogInfo("stop listening gRPC proxy client requests",
          {{"address", values.GetString("listen-addr")}});
  server::EndBySignal(number);
}

}  // namespace

int RunGrpcProxyCommand(const std::vector<std::string>& args) {
  return RunStartCommand(ProxyOptionSpecs(), kUsage, args, Serve);
}

}  // namespace quorate::proxy
